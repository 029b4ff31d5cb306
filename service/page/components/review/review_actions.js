// What keys, buttons and swipes do to the items of the grid.

import { NONE_OF_THESE } from "../../format.js";
import { counted, words } from "../../inputs.js";
import { allNames, remember, withDigit } from "./class_keys.js";
import { open } from "../dialog.js";
import { actionOf, keysHelp } from "./keys.js";
import { lookCloser } from "./look.js";
import { pickClass } from "./picker.js";
import { undoLast } from "./sitting.js";
import { announce, toast } from "../toast.js";

/** `list()` is the worklist of the grid; `changed()` is called after an action. */
export function makeActions({ grid, list, changed }) {
  const { selection } = grid;
  let isAsking = false;

  /** Label items: `labelOf(item)` is the label, or null to leave one out. */
  function label(keys, labelOf, otherwise) {
    const labels = new Map(keys.map((key) => [key, labelOf(grid.itemOf(key))]).filter(([, name]) => name));
    if (!labels.size) {
      if (keys.length) toast(otherwise);
      return;
    }
    const next = selection.keys[selection.indexOf(keys.at(-1)) + 1];
    const names = [...new Set(labels.values())];
    for (const name of names) remember(name);
    list().label(labels);
    advance(next);
    announce(`${counted(labels.size)}: ${names.slice(0, 3).join(", ")}`);
  }

  /** The focus moves on, and the selection ends. */
  function advance(next) {
    const index = next === undefined ? selection.focus : selection.indexOf(next);
    selection.move(Math.max(0, index));
    grid.reveal();
    grid.changed();
  }

  const setClass = (keys, name) => label(keys, () => name);

  async function ask(work) {
    if (isAsking) return;
    isAsking = true;
    try {
      await work();
    } finally {
      isAsking = false;
      grid.element.focus({ preventScroll: true });
    }
  }

  async function undo() {
    try {
      if (!(await undoLast())) toast("Nothing to undo");
    } catch (problem) {
      toast(`Not undone: ${problem.message}`);
    }
  }

  const ACTIONS = {
    digit: (keys, { digit }) => {
      const name = withDigit()[digit - 1];
      if (name) setClass(keys, name);
      else toast(`No class has the number ${digit}; press / to choose one`);
    },
    accept: (keys) => label(keys, (item) => item.predicted, `The model has no answer for this ${words().one}`),
    keep: (keys) => label(keys, (item) => item.label, `This ${words().one} has no label to keep`),
    reject: (keys) => setClass(keys, NONE_OF_THESE),
    pick: (keys) => ask(async () => {
      const many = keys.length === 1 ? `this ${words().one}` : `these ${counted(keys.length)}`;
      const name = await pickClass({ names: allNames(), title: `Set the class of ${many}` });
      if (name) setClass(keys.filter((key) => grid.itemOf(key)), name);
    }),
    skip: (keys) => {
      const next = selection.keys[selection.indexOf(keys.at(-1)) + 1];
      list().skip(keys);
      advance(next);
    },
    open: (keys) => ask(() => lookCloser(grid.itemOf(selection.focusKey ?? keys[0]))),
    all: () => selection.all(),
    clear: () => selection.clear(),
    toggle: () => selection.choose(selection.focus, { toggle: true }),
  };

  function act(action) {
    if (action.isMove) grid.move(action);
    else if (action.name === "undo") undo();
    else if (action.name === "help") ask(() => open("Keys", [keysHelp()]));
    else {
      const keys = selection.targets();
      if (keys.length) ACTIONS[action.name](keys, action);
      grid.changed();
    }
    changed();
  }

  /** Keys work wherever the focus is, except where they mean something else. */
  function onKey(event) {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const action = actionOf(event);
    if (!action) return;
    const isInGrid = grid.element.contains(event.target);
    const isControl = event.target.closest("a, button, summary");
    if (isControl && ["open", "skip", "toggle"].includes(action.name)) return; // it presses the control
    if (!isInGrid && !isControl) grid.element.focus({ preventScroll: true }); // they need no click first
    else if (!isInGrid && (action.isMove || action.name === "all")) return;
    event.preventDefault();
    act(action);
  }

  return {
    act, onKey,
    swiped(key, way) {
      ACTIONS[way === "right" ? "accept" : "reject"](selection.has(key) ? selection.targets() : [key], {});
      changed();
    },
  };
}
