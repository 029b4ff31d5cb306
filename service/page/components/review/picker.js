// Chooses a class by typing: a dialog with a field and the classes that match, as a combobox. A name
// that no class has makes a new one.

import { el } from "../../dom.js";

const MAX_SHOWN = 60;

const fold = (text) => text.normalize("NFKC").toLowerCase().trim().replace(/\s+/g, " ");

/** The names that hold what was typed: those that begin with it first. */
export function matching(names, typed) {
  const wanted = fold(typed);
  if (!wanted) return names;
  const found = names.filter((name) => fold(name).includes(wanted));
  return [...found.filter((name) => fold(name).startsWith(wanted)), ...found.filter((name) => !fold(name).startsWith(wanted))];
}

/** Ask for a class. Resolves to its name, or to null after Escape. `title` says what it is for. */
export function pickClass({ names, title, allowNew = true }) {
  const input = el("input", {
    type: "text", id: "picker-name", role: "combobox", maxlength: 100, autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    "aria-expanded": "true", "aria-controls": "picker-list", "aria-autocomplete": "list",
    placeholder: allowNew ? "type a name; a new one makes a class" : "type a name",
  });
  const list = el("ul", { id: "picker-list", class: "picker-list", role: "listbox", "aria-label": "Classes" });
  const form = el("form", { method: "dialog" }, el("label", { for: "picker-name", id: "picker-title" }, title), input, list);
  const dialog = el("dialog", { class: "picker", "aria-labelledby": "picker-title" }, form);
  let options = [];
  let at = 0;

  function show() {
    const typed = input.value.trim();
    const found = matching(names, typed).slice(0, MAX_SHOWN);
    const isNew = allowNew && typed && !found.some((name) => fold(name) === fold(typed));
    options = [...found.map((name) => ({ name })), ...(isNew ? [{ name: typed, isNew }] : [])];
    list.replaceChildren(...options.map(({ name, isNew: makes }, index) =>
      el("li", { role: "option", id: `picker-${index}`, onclick: () => finish(name) },
        makes ? el("span", { class: "quiet" }, "new class ") : null, name)));
    list.hidden = !options.length;
    highlight(0);
  }

  function highlight(index) {
    at = Math.min(options.length - 1, Math.max(0, index));
    [...list.children].forEach((node, k) => node.setAttribute("aria-selected", String(k === at)));
    if (options.length) {
      input.setAttribute("aria-activedescendant", `picker-${at}`);
      list.children[at].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  let chosen = null;
  function finish(name) {
    chosen = name;
    dialog.close();
  }

  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      highlight(at + (event.key === "ArrowDown" ? 1 : -1));
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (options[at]) finish(options[at].name);
  });
  document.body.append(dialog);
  show();
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(chosen);
    }, { once: true });
  });
}
