// One photo and its prediction: what it is thought to be, and one click to say what it is.

import * as api from "./api.js";
import { labelled } from "./classes.js";
import { el, fill, percent, say } from "./dom.js";
import * as live from "./live.js";
import { announce } from "./toast.js";

const MAX_SUGGESTED = 4;

export function makeCard(file, { onRemove }) {
  const url = URL.createObjectURL(file);
  const body = el("div", { class: "card-body" }, el("p", { class: "quiet" }, "Looking…"));
  const remove = el("button", { type: "button", class: "remove", "aria-label": `Remove ${file.name}` }, "×");
  const thumbnail = el("img", { src: url, alt: file.name, decoding: "async" });
  const element = el("article", { class: "card", "aria-label": `Photo ${file.name}`, "aria-busy": "true" },
    el("div", { class: "thumbnail" }, thumbnail, remove), body);
  let answer = null;
  let before = null;
  let stale = null;

  // Some formats that the service reads, no browser shows.
  thumbnail.addEventListener("error", () => element.classList.add("no-thumbnail"));
  remove.addEventListener("click", () => {
    URL.revokeObjectURL(url);
    onRemove(card);
  });

  async function predict() {
    element.setAttribute("aria-busy", "true");
    const earlier = answer;
    try {
      answer = await api.predict(file);
      if (earlier && earlier.version !== answer.version) before = earlier;
      show();
      announce(`${file.name}: ${answer.label}, ${percent(answer.confidence)}`);
    } catch (problem) {
      showProblem(problem);
    }
    element.setAttribute("aria-busy", "false");
  }

  function showProblem(problem) {
    body.replaceChildren(
      el("p", { class: "problem", role: "alert" }, problem.message),
      el("button", { type: "button", class: "plain", onclick: predict }, "Try again"),
    );
  }

  function show() {
    const confidence = el("div", { class: "bar", "aria-hidden": "true" });
    fill(confidence, answer.confidence);
    const was = before && before.label !== answer.label ? ` · was ${before.label} in version ${before.version}` : "";
    const again = el("button", { type: "button", class: "link again", onclick: predict }, "Predict again");
    stale = again;
    body.replaceChildren(
      el("div", { class: "answer" },
        el("h3", {}, answer.label),
        answer.abstains && el("span", { class: "badge", title: "Too unsure to be relied on: tell it what this is." }, "unsure"),
        el("span", { class: "confidence" }, percent(answer.confidence))),
      confidence,
      el("p", { class: "quiet fine" }, `version ${answer.version}${was} · `, again),
      makeQuestion(answer),
    );
    refresh();
  }

  /** A newer version is live: say so on the button. */
  function refresh() {
    if (!stale || !answer || !live.now) return;
    const isStale = card.isStale();
    stale.classList.toggle("fresh", isStale);
    stale.textContent = isStale ? `Predict again with version ${live.now.version}` : "Predict again";
  }

  const card = {
    element,
    predict,
    refresh,
    isStale: () => answer !== null && live.now !== null && live.now.version !== answer.version,
  };
  return card;
}

/** "Is it right?": confirm, choose another class, or type one. Then thanks, with the way back. */
function makeQuestion(answer) {
  const [best, ...others] = answer.top;
  const listed = new Set(answer.top.map((candidate) => candidate.label));
  const suggested = labelled().filter((name) => !listed.has(name)).slice(0, MAX_SUGGESTED);
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const thanks = el("p", { class: "thanks", role: "status", hidden: true });

  const choice = (name, likelihood) => {
    const button = el("button", { type: "button", class: "choice", onclick: () => give(name, button) },
      el("span", {}, name), likelihood !== undefined && el("span", { class: "quiet" }, percent(likelihood)));
    fill(button, likelihood ?? 0);
    return button;
  };
  const correct = el("button", { type: "button", class: "correct", onclick: () => give(best.label, correct) }, "✓ Correct!");
  const input = el("input", {
    type: "text", list: "classes", maxlength: 100, autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    "aria-label": "What is it really?", placeholder: "something else…",
  });
  const form = el("form", { class: "row", onsubmit: submit }, input, el("button", { type: "submit", class: "plain" }, "Save"));
  const fields = el("fieldset", {},
    el("legend", { class: "unseen" }, "What is it really?"),
    correct,
    el("p", { class: "quiet fine" }, "or is it…"),
    el("div", { class: "choices" }, ...others.map((other) => choice(other.label, other.confidence))),
    suggested.length > 0 && el("div", { class: "chips" }, ...suggested.map((name) => choice(name))),
    form);

  function submit(event) {
    event.preventDefault();
    const name = input.value.trim();
    if (name) give(name);
    else input.focus();
  }

  async function give(label, button) {
    fields.disabled = true;
    say(problem, null);
    try {
      const stored = await api.labelPrediction(answer.prediction_id, label);
      button?.classList.add("chosen");
      thank(stored, button);
    } catch (error) {
      fields.disabled = false;
      say(problem, error.message);
    }
    live.refresh();
  }

  function thank(stored, button) {
    const undo = el("button", { type: "button", class: "link" }, "Undo");
    undo.addEventListener("click", async () => {
      undo.disabled = true;
      try {
        await api.takeBack(stored.id);
        thanks.replaceChildren(`Label ${stored.id} is taken back.`);
        button?.classList.remove("chosen");
        fields.disabled = false;
        (button ?? input).focus();
      } catch (error) {
        undo.disabled = false;
        say(problem, error.message);
      }
      live.refresh();
    });
    thanks.replaceChildren("Thanks — ", el("b", {}, stored.label), ` is stored as label ${stored.id}. `, undo);
    thanks.hidden = false;
    undo.focus({ preventScroll: true }); // the button that had the focus is disabled now
  }

  return el("div", { class: "question" }, fields, problem, thanks);
}
