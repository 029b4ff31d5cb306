// The bar below the grid: the classes with their digits, and the actions with their keys.

import { el, put, setText } from "../../dom.js";
import { counted } from "../../inputs.js";
import { withDigit } from "./class_keys.js";

const ACTIONS = [
  ["accept", "Accept", "A", "Accept the model's answer"],
  ["keep", "Keep", "K", "Keep the label as it is: it is right"],
  ["reject", "None", "X", "None of these: keep it out of training"],
  ["skip", "Skip", "␣", "Move on without a label"],
  ["undo", "Undo", "⌫", "Undo the last action"],
  ["help", "Keys", "?", "Show the keys"],
];

/** `act({name, digit})` does what a key would. */
export function makeLabelBar(act) {
  const chips = el("div", { class: "label-bar-classes", role: "group", "aria-label": "Set a class" });
  const chosen = el("p", { class: "label-bar-chosen", role: "status" });
  const buttons = new Map(ACTIONS.map(([name, text, key, title]) => [name,
    el("button", { type: "button", class: "plain", title, "aria-keyshortcuts": { "⌫": "Backspace", "␣": "Space" }[key] ?? key, onclick: () => act({ name }) },
      text, el("kbd", { "aria-hidden": "true" }, key))]));
  const element = el("div", { class: "label-bar", role: "group", "aria-label": "Label" },
    chosen, chips, el("div", { class: "label-bar-actions" }, ...buttons.values()));
  let shown = "";

  function refresh({ numSelected, numShown, canUndo, hasLabels }) {
    const names = withDigit();
    const key = JSON.stringify(names);
    if (key !== shown) {
      shown = key;
      put(chips,
        names.map((name, k) => el("button", { type: "button", class: "class-chip", title: name, "aria-keyshortcuts": String(k + 1), onclick: () => act({ name: "digit", digit: k + 1 }) },
          el("kbd", { "aria-hidden": "true" }, String(k + 1)), el("span", {}, name))),
        el("button", { type: "button", class: "class-chip", "aria-keyshortcuts": "/", onclick: () => act({ name: "pick" }) },
          el("kbd", { "aria-hidden": "true" }, "/"), el("span", {}, names.length ? "other" : "choose a class")));
    }
    setText(chosen, numSelected ? `${counted(numSelected)} selected` : "");
    buttons.get("undo").disabled = !canUndo;
    buttons.get("keep").hidden = !hasLabels;
    for (const name of ["accept", "keep", "reject", "skip"]) buttons.get(name).disabled = numShown === 0;
    for (const chip of chips.children) chip.disabled = numShown === 0;
  }

  return { element, refresh };
}
