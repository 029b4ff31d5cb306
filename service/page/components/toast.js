// Short messages: on screen for a while, or only for screen readers.

import { byId, el, setText } from "../dom.js";

const SHOWN_MS = 6000;
const MOST = 3;

/** `action` is {text, run}: a button beside the text, such as an undo. */
export function toast(text, { action = null, isBad = false } = {}) {
  const button = action && el("button", { type: "button", class: "link", onclick: () => { node.remove(); action.run(); } }, action.text);
  const node = el("p", { class: isBad ? "toast bad" : "toast" }, text, button);
  const list = byId("toasts");
  list.append(node);
  while (list.children.length > MOST) list.firstElementChild.remove();
  setTimeout(() => node.remove(), isBad ? 2 * SHOWN_MS : SHOWN_MS);
  return () => node.remove();
}

/** Tell screen readers what has appeared elsewhere on the page. */
export function announce(text) {
  setText(byId("heard"), text);
}
