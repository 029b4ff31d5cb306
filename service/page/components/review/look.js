// A closer look at one photo or text: the whole of it, and the nearest labelled ones.

import { neighbours } from "../../api/examples.js";
import { el, put } from "../../dom.js";
import { percent } from "../../format.js";
import { kind, words } from "../../inputs.js";
import { open } from "../dialog.js";
import { describe } from "../grid/tile.js";

/** Resolves when it is closed. */
export function lookCloser(item) {
  const { title, number, detail, marks } = describe(item);
  const near = el("div", { class: "near" }, el("p", { class: "quiet" }, `Looking for the nearest labelled ${words().many}…`));
  const shown = el("div", { class: "look-whole" }, kind().whole(item, title));
  showNear(near, item);
  return open(number ? `${title} ${number}` : title, [
    shown,
    el("p", { class: "quiet" }, [detail, ...marks].filter(Boolean).join(" · ")),
    near,
  ]);
}

async function showNear(node, item) {
  try {
    const { neighbours: found } = await neighbours({ [item.kind]: item.id }, 4);
    if (!found.length) throw new Error(`No labelled ${words().one} is near.`);
    put(node, el("h3", {}, `Nearest labelled ${words().many}`), el("ul", {}, found.map(({ example, similarity }) => el("li", {},
      kind().preview({ kind: "example", id: example.id, excerpt: example.excerpt }),
      el("span", {}, example.label), el("span", { class: "quiet" }, percent(Math.max(0, similarity)))))));
  } catch (problem) {
    put(node, el("p", { class: "quiet" }, problem.message));
  }
}
