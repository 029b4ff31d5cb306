// The heading of a view, which takes the focus when the view is shown.

import { el } from "../dom.js";

/** `others`: what stands beside it, buttons for one. */
export const heading = (title, ...others) =>
  el("div", { class: "view-head" }, el("h1", { tabindex: "-1" }, title), el("div", { class: "buttons" }, ...others));

/** A titled part of a view. */
export function panel(title, ...children) {
  const id = `panel-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return el("section", { class: "panel", "aria-labelledby": id }, el("h2", { id }, title), ...children);
}
