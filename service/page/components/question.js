// "Is it right?": confirm, choose another class, or type one. Then thanks, with an undo.

import * as api from "./api.js";
import { isSameClass, labelled } from "./classes.js";
import { el, fill, percent, say } from "./dom.js";
import * as live from "./live.js";

const MAX_SUGGESTED = 4;

/** `stored` is the label given here before, or null; `onStored` is called when it changes. */
export function makeQuestion(answer, stored, onStored) {
  const [best, ...others] = answer.top;
  // A taught class is often not yet one of the live version.
  const suggested = labelled().filter((name) => !answer.top.some((listed) => isSameClass(listed.label, name))).slice(0, MAX_SUGGESTED);
  const buttons = new Map();

  const choice = (name, likelihood) => {
    const button = el("button", { type: "button", class: "choice", onclick: () => give(name) },
      el("span", {}, name), likelihood !== undefined && el("span", { class: "quiet" }, percent(likelihood)));
    fill(button, likelihood ?? 0);
    buttons.set(name, button);
    return button;
  };
  const correct = el("button", { type: "button", class: "correct", onclick: () => give(best.label) }, "✓ Correct!");
  buttons.set(best.label, correct);
  const input = el("input", {
    type: "text", list: "classes", maxlength: 100, autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    "aria-label": "What is it really?", placeholder: "something else…",
  });
  const form = el("form", { class: "row", onsubmit: submit }, input, el("button", { type: "submit", class: "plain" }, "Save"));
  const fields = el("fieldset", {},
    el("legend", { class: "unseen" }, "What is it really?"),
    correct,
    others.length + suggested.length > 0 && el("p", { class: "quiet fine" }, "or is it…"),
    el("div", { class: "choices" }, ...others.map((other) => choice(other.label, other.confidence))),
    suggested.length > 0 && el("div", { class: "chips" }, ...suggested.map((name) => choice(name))),
    form);
  const undo = el("button", { type: "button", class: "link", onclick: takeBack }, "Undo");
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const thanks = el("p", { class: "thanks", role: "status" });

  function show() {
    fields.disabled = stored !== null;
    for (const [name, button] of buttons) button.classList.toggle("chosen", stored !== null && isSameClass(name, stored.label));
    thanks.hidden = stored === null;
    if (stored) thanks.replaceChildren("Thanks — ", el("b", {}, stored.label), ` is stored as label ${stored.id}. `, undo);
    else thanks.replaceChildren();
  }

  function submit(event) {
    event.preventDefault();
    const name = input.value.trim();
    if (name) give(name);
    else input.focus();
  }

  async function give(label) {
    fields.disabled = true; // a second click must not store a second label
    await change(() => api.labelPrediction(answer.prediction_id, label));
    // The button that had the focus is disabled now.
    (stored ? undo : buttons.get(label) ?? input).focus({ preventScroll: true });
  }

  async function takeBack() {
    const { id, label } = stored;
    await change(() => api.takeBack(id).then(() => null));
    if (!stored) (buttons.get(label) ?? input).focus({ preventScroll: true });
  }

  async function change(work) {
    say(problem, null);
    try {
      stored = await work();
      onStored(stored);
    } catch (error) {
      say(problem, error.message);
    }
    show();
    live.refresh();
  }

  show();
  return el("div", { class: "question" }, fields, problem, thanks);
}
