// "Why": the labelled photos or texts that are nearest to one, in the features of the live version.

import * as api from "../../api/examples.js";
import { el, put } from "../../dom.js";
import { percent } from "../../format.js";
import { kind, words } from "../../inputs.js";
import { address } from "../../router.js";

// Only what is in view asks: a page of forty cards may be answered anew at each version.
const wanted = new Map();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    const load = wanted.get(target);
    forget(target);
    load?.();
  }
});

function forget(node) {
  wanted.delete(node);
  observer.unobserve(node);
}

/** Fill `node`, which is shown only if there is something to show. `of`: {prediction} or {example}. */
export function showNearest(node, of) {
  // Hidden, it would never be in view: its parent is watched.
  queueMicrotask(() => {
    const frame = node.parentNode;
    if (!frame) return;
    wanted.set(frame, () => loadNearest(node, of));
    observer.unobserve(frame); // watched again, it reports again
    observer.observe(frame);
  });
}

/** The same at once, wherever it is. */
export async function loadNearest(node, of) {
  let found = [];
  try {
    ({ neighbours: found } = await api.neighbours(of));
  } catch {
    return; // an extra: without it, the answer stands as well
  }
  if (!found.length) return;
  put(node,
    el("p", { class: "quiet fine" }, `Nearest labelled ${words().many}`),
    el("ul", { class: "thumbs" }, found.map(({ example, similarity }) => thumb(example, example.label ?? "no label", percent(similarity)))));
  node.hidden = false;
}

/** An example that leads to its view: {id, label, excerpt}, with two lines below it. */
export const thumb = ({ id, excerpt }, ...lines) =>
  el("li", {}, el("a", { class: "thumb", href: address(`example/${id}`) },
    kind().preview({ kind: "example", id, excerpt }), lines.map((line, i) => el("span", { class: i ? "quiet" : "name" }, line))));
