// "Is it right?": confirm, choose another class, or type one. Then thanks, with an undo.

import { labelled } from "../../classes.js";
import { el, fill, put, say } from "../../dom.js";
import { isSameClass, NONE_OF_THESE, percent } from "../../format.js";
import * as outbox from "../../outbox.js";
import { refresh } from "../../stream.js";

const MAX_CHOICES = 9; // one for each digit
const FOR_TOP = 5;

/** `top` are the model's guesses, none if it knows no class. `send(label)` is a promise of the outbox.
 * `given` is the label given here before, or null: {label, promise, feedback_id}; `onGiven` is called
 * when it changes. Returns {element, press(key), isTypedIn()}. */
export function makeQuestion({ top, send, given, onGiven }) {
  const [best, ...others] = top;
  const names = choices(top);
  const asked = best ? "What is it really?" : "What is it?";
  const buttons = new Map();
  let problemText = null;

  const choice = (name, i) => {
    const likelihood = others.find((other) => other.label === name)?.confidence;
    const button = el("button", { type: "button", class: "choice", onclick: () => give(name) },
      el("kbd", { "aria-hidden": "true" }, String(i + 1)), el("span", {}, name),
      likelihood !== undefined && el("span", { class: "quiet number" }, percent(likelihood)));
    fill(button, likelihood ?? 0);
    buttons.set(name, button);
    return button;
  };
  const correct = best && el("button", { type: "button", class: "correct", "aria-keyshortcuts": "a", onclick: () => give(best.label) },
    "✓ Correct", el("kbd", { "aria-hidden": "true" }, "a"));
  if (best) buttons.set(best.label, correct);
  const none = el("button", { type: "button", class: "choice none", "aria-keyshortcuts": "x", onclick: () => give(NONE_OF_THESE) },
    el("kbd", { "aria-hidden": "true" }, "x"), el("span", {}, NONE_OF_THESE));
  buttons.set(NONE_OF_THESE, none);
  const input = el("input", {
    type: "text", list: "classes", maxlength: 100, autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    "aria-label": asked, placeholder: names.length ? "other…" : "name its class…",
  });
  const form = el("form", { class: "row", onsubmit: submit }, input, el("button", { type: "submit", class: "plain" }, "Save"));
  const fields = el("fieldset", {},
    el("legend", { class: "unseen" }, asked),
    correct,
    el("div", { class: "chips" }, names.map(choice), none),
    form);
  const undo = el("button", { type: "button", class: "link", onclick: takeBack }, "Undo");
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const thanks = el("p", { class: "thanks", role: "status" });
  const element = el("div", { class: "question" }, fields, problem, thanks);

  function show() {
    fields.disabled = given !== null;
    for (const [name, button] of buttons) button.classList.toggle("chosen", given !== null && isSameClass(name, given.label));
    thanks.hidden = given === null;
    say(problem, problemText);
    if (!given) put(thanks);
    else if (given.feedback_id) put(thanks, "Thanks — ", el("b", {}, given.label), ` is stored as label ${given.feedback_id}. `, undo);
    else put(thanks, el("b", {}, given.label), " is on its way to the server. ", undo);
  }

  function submit(event) {
    event.preventDefault();
    const name = input.value.trim();
    if (name) give(name);
    else input.focus();
  }

  /** Shown at once as given; taken back if the server refuses it. */
  async function give(label) {
    if (given) return;
    const hadFocus = element.contains(document.activeElement);
    const promise = send(label);
    const mine = { label, promise, feedback_id: null };
    change(mine);
    if (hadFocus) undo.focus({ preventScroll: true }); // the button that had it is disabled now
    try {
      const stored = await promise;
      // As stored: an earlier spelling of the class, if there is one.
      if (given === mine) change({ ...mine, label: stored.label, feedback_id: stored.feedback_id });
    } catch (error) {
      if (given === mine) change(null, error.message);
    }
    refresh();
  }

  async function takeBack() {
    const taken = given;
    const hadFocus = element.contains(document.activeElement);
    change(null);
    if (hadFocus) (buttons.get(taken.label) ?? input).focus({ preventScroll: true });
    try {
      await outbox.undo(taken.promise);
    } catch (error) {
      if (!given) change(taken, error.message);
    }
    refresh();
  }

  function change(now, text = null) {
    given = now;
    problemText = text;
    onGiven(now);
    show();
  }

  function press(key) {
    if (key === "Backspace") {
      if (!given) return false;
      takeBack();
      return true;
    }
    const name = key === "a" ? best?.label : key === "x" ? NONE_OF_THESE : /^[1-9]$/.test(key) ? names[key - 1] : undefined;
    if (name === undefined || given) return false;
    give(name);
    return true;
  }

  show();
  return { element, press, isTypedIn: () => input.value !== "" && document.activeElement === input };
}

/** The model's other guesses, then classes that were taught: often not yet in the live version. */
function choices(top) {
  const guesses = top.slice(1, 1 + FOR_TOP).map(({ label }) => label);
  const listed = top.slice(0, 1 + FOR_TOP).map(({ label }) => label);
  const taught = labelled().filter((name) => !listed.some((each) => isSameClass(each, name)));
  return [...guesses, ...taught].slice(0, MAX_CHOICES);
}
