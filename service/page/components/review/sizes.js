// How large the photos of the grid are: three sizes, kept in this browser.

import { el } from "../../dom.js";

const SIDES = [["S", "Small", 96], ["M", "Medium", 148], ["L", "Large", 240]];
const KEPT = "grid-size";

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

export function makeSizes(setSide) {
  const buttons = SIDES.map(([name, title]) => el("button", { type: "button", class: "plain", title, "aria-label": `${title} photos`, onclick: () => choose(name) }, name));

  function choose(wanted) {
    const at = Math.max(0, SIDES.findIndex(([name]) => name === wanted));
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === at)));
    setSide(SIDES[at][2]);
    try {
      localStorage.setItem(KEPT, SIDES[at][0]);
    } catch {
      // It lasts as long as the page.
    }
  }

  choose(kept() ?? "M");
  return el("div", { class: "sizes", role: "group", "aria-label": "Size of the photos" }, ...buttons);
}
