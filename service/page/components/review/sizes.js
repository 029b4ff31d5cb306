// How large the items of the grid are: three sizes, kept in this browser.

import { el } from "../../dom.js";
import { kind, titleWords, words } from "../../inputs.js";

const KEPT = "grid-size";

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

export function makeSizes(setSize) {
  const { sizes } = kind().list;
  const buttons = sizes.map(([name, title]) => el("button", { type: "button", class: "plain", title, "aria-label": `${title} ${words().many}`, onclick: () => choose(name) }, name));

  function choose(wanted) {
    const at = Math.max(0, sizes.findIndex(([name]) => name === wanted));
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === at)));
    setSize(sizes[at][2]);
    try {
      localStorage.setItem(KEPT, sizes[at][0]);
    } catch {
      // It lasts as long as the page.
    }
  }

  choose(kept() ?? "M");
  return el("div", { class: "sizes", role: "group", "aria-label": `${titleWords().one} size` }, ...buttons);
}
