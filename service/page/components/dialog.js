// Dialogs: the browser keeps the focus inside, and gives it back.

import { byId, el, put } from "../dom.js";

/** Ask before a change that affects every user. Escape and Cancel mean no. */
export async function confirm(title, text, yes) {
  return (await open(title, [el("p", {}, text)], yes)) !== null;
}

/** Ask for one line of text. Null: cancelled. `options` are attributes of the field. */
export async function ask(title, text, label, yes, options = {}) {
  const field = el("input", { type: "text", id: "dialog-field", autocomplete: "off", spellcheck: "false", required: true, ...options });
  const shown = open(title, [text && el("p", {}, text), el("label", { for: "dialog-field" }, label), field], yes);
  field.select();
  return (await shown) === null ? null : field.value.trim();
}

/** Show anything; `yes` null: only to be closed. Resolves with "yes" or null. */
export function open(title, content, yes = null) {
  const dialog = byId("dialog");
  const no = el("button", { type: "button", class: "plain", onclick: () => dialog.close("no") }, yes ? "Cancel" : "Close");
  put(dialog, el("form", { method: "dialog" },
    el("h2", { id: "dialog-title" }, title),
    ...content,
    el("div", { class: "buttons" }, no, yes && el("button", { value: "yes", id: "confirm-yes" }, yes))));
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? "yes" : null), { once: true });
  });
}
