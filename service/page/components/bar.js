// Bars: of a share, and of progress.

import { el, fill } from "../dom.js";

/** A share, 0 to 1, beside which the number stands as text. */
export function bar(share, kind = "") {
  const node = el("span", { class: `bar ${kind}`.trim(), "aria-hidden": "true" });
  fill(node, share);
  return node;
}

/** A progress bar with a name. `fill(node, fraction)` moves it. */
export const progressBar = (name, attributes = {}) =>
  el("div", { class: "bar", role: "progressbar", "aria-label": name, "aria-valuemin": "0", "aria-valuemax": "100", ...attributes });
