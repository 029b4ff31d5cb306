// The keys of the grid: what each does, as data for the handler and for the dialog that lists them.

import { el } from "../../dom.js";

export const HELP = [
  [["1", "…", "9"], "Set the class with that number"],
  [["/"], "Choose a class by name, or make one (also c)"],
  [["a"], "Accept the model's answer"],
  [["k"], "Keep the label as it is: it is right"],
  [["x"], "None of these: keep it out of training"],
  [["Space"], "Skip: move on without a label"],
  [["Backspace"], "Undo the last action, all of it at once"],
  [["←", "↑", "↓", "→"], "Move; with Shift, select on the way; with Ctrl, keep the selection"],
  [["Ctrl", "A"], "Select all"],
  [["Enter"], "Look closer, and see what is labelled near it"],
  [["Esc"], "Clear the selection"],
  [["?"], "Show these keys"],
];

export const HELP_POINTER = [
  ["Click, drag", "Select one, or all in a rectangle"],
  ["Shift + click", "Select the range"],
  ["Ctrl + click", "Add or remove one"],
  ["Swipe right", "Accept the model's answer"],
  ["Swipe left", "None of these"],
  ["Swipe up", "Skip: scroll on"],
];

const PLAIN = { a: "accept", k: "keep", x: "reject", "/": "pick", c: "pick", "?": "help", " ": "skip", Backspace: "undo", Delete: "undo", Escape: "clear", Enter: "open" };
const MOVES = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last", PageUp: "page-up", PageDown: "page-down" };

/** The action of a key event: `{name, digit?, extend?, keep?}`, or null if it is none of the grid's. */
export function actionOf({ key, shiftKey, ctrlKey, metaKey, altKey }) {
  if (altKey) return null;
  const command = ctrlKey || metaKey;
  if (MOVES[key]) return { name: MOVES[key], isMove: true, extend: shiftKey, keep: command };
  if (command) {
    if (key.toLowerCase() === "a") return { name: "all" };
    if (key.toLowerCase() === "z") return { name: "undo" };
    return key === " " ? { name: "toggle" } : null;
  }
  if (/^[1-9]$/.test(key)) return { name: "digit", digit: Number(key) };
  const name = PLAIN[key.length === 1 ? key.toLowerCase() : key];
  return name ? { name } : null;
}

/** Two lists for a dialog. */
export function keysHelp() {
  const keyed = HELP.flatMap(([keys, what]) => [
    el("dt", {}, ...keys.map((key) => (key === "…" ? " to " : el("kbd", {}, key)))), el("dd", {}, what)]);
  const pointed = HELP_POINTER.flatMap(([how, what]) => [el("dt", {}, how), el("dd", {}, what)]);
  return el("div", { class: "keys-help" }, el("dl", {}, ...keyed), el("dl", {}, ...pointed));
}
