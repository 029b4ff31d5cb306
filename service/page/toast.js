// Short messages: on screen for a while, or only for screen readers.

import { byId, el, setText } from "./dom.js";

const SHOWN_MS = 6000;

export function toast(text) {
  const node = el("p", { class: "toast" }, text);
  byId("toasts").replaceChildren(node); // only the newest is shown
  setTimeout(() => node.remove(), SHOWN_MS);
}

/** Tell screen readers what has appeared elsewhere on the page. */
export function announce(text) {
  setText(byId("heard"), text);
}

/** Ask before a change that affects every user. Escape and Cancel mean no. */
export function confirm(title, text, yes) {
  const dialog = byId("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
