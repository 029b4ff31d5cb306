// Short messages: on screen for a while, or only for those who listen.

import { byId, el, setText } from "./dom.js";

const SHOWN_MS = 6000;

export function toast(text) {
  const node = el("p", { class: "toast" }, text);
  byId("toasts").replaceChildren(node); // one at a time: the newest counts
  setTimeout(() => node.remove(), SHOWN_MS);
}

/** For screen readers: what the eye sees appear elsewhere. */
export function announce(text) {
  setText(byId("heard"), text);
}

/** Ask before something that everyone will notice. Escape and Cancel mean no. */
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
