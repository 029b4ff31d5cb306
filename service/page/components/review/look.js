// A closer look at one photo: the whole of it, and the nearest labelled ones.

import { neighbours } from "../../api/photos.js";
import { el, put } from "../../dom.js";
import { percent } from "../../format.js";
import { open } from "../dialog.js";
import { describe, imageOf } from "../grid/tile.js";

/** Resolves when it is closed. */
export function lookCloser(item) {
  const { title, number, detail, marks } = describe(item);
  const near = el("div", { class: "near" }, el("p", { class: "quiet" }, "Looking for the nearest labelled photos…"));
  const photo = el("img", { class: "look-whole", src: imageOf(item, "whole"), alt: title });
  photo.addEventListener("error", () => photo.replaceWith(el("p", { class: "quiet" }, "This browser cannot show the photo.")));
  showNear(near, item);
  return open(number ? `${title} ${number}` : title, [
    photo,
    el("p", { class: "quiet" }, [detail, ...marks].filter(Boolean).join(" · ")),
    near,
  ]);
}

async function showNear(node, item) {
  try {
    const { neighbours: found } = await neighbours({ [item.kind]: item.id }, 4);
    if (!found.length) throw new Error("No labelled photo is near.");
    put(node, el("h3", {}, "Nearest labelled photos"), el("ul", {}, found.map(({ example, similarity }) => el("li", {},
      el("img", { src: imageOf({ kind: "example", id: example.id }), alt: "", loading: "lazy" }),
      el("span", {}, example.label), el("span", { class: "quiet" }, percent(Math.max(0, similarity)))))));
  } catch (problem) {
    put(node, el("p", { class: "quiet" }, problem.message));
  }
}
