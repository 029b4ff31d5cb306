// A photo and its prediction: label, version and confidence.

import * as api from "./api.js";
import { isSameClass } from "./classes.js";
import { el, fill, percent } from "./dom.js";
import * as live from "./live.js";
import { makeQuestion } from "./question.js";
import { announce } from "./toast.js";

export function makeCard(file, { onRemove }) {
  const url = URL.createObjectURL(file);
  const body = el("div", { class: "card-body" }, el("p", { class: "quiet" }, "Predicting…"));
  const removeButton = el("button", { type: "button", class: "remove", "aria-label": `Remove ${file.name}`, onclick: () => onRemove(card) }, "×");
  const thumbnail = el("img", { src: url, alt: file.name, decoding: "async" });
  const element = el("article", { class: "card", "aria-label": `Photo ${file.name}`, "aria-busy": "true" },
    el("div", { class: "thumbnail" }, thumbnail, removeButton), body);
  const again = el("button", { type: "button", class: "link again", onclick: predict }, "Predict again");
  let answer = null;
  let before = null; // the prediction of an earlier version
  let stored = null; // the label given here

  // The service reads some formats that browsers cannot show.
  thumbnail.addEventListener("error", () => {
    thumbnail.parentNode.classList.add("bare");
    thumbnail.replaceWith(file.name);
  });

  async function predict() {
    element.setAttribute("aria-busy", "true");
    const hadFocus = document.activeElement === again;
    try {
      const newest = await api.predict(file);
      if (answer && answer.version !== newest.version) before = answer;
      answer = newest;
      show();
      if (hadFocus) again.focus({ preventScroll: true });
      const sign = answer.unfamiliar ? ", unlike everything labelled" : "";
      announce(`${file.name}: ${answer.label}, ${percent(answer.confidence)}${sign}`);
    } catch (problem) {
      // A rejected photo would be rejected again.
      const mayPass = problem.status === 0 || problem.status >= 500;
      const retry = mayPass && el("button", { type: "button", class: "plain", onclick: predict }, "Try again");
      body.replaceChildren(...[el("p", { class: "problem", role: "alert" }, problem.message), retry].filter(Boolean));
    }
    element.setAttribute("aria-busy", "false");
  }

  function show() {
    const confidence = el("div", { class: "bar", "aria-hidden": "true" });
    fill(confidence, answer.confidence);
    const hasChanged = before && before.label !== answer.label;
    const hasLearned = hasChanged && stored && isSameClass(stored.label, answer.label);
    body.replaceChildren(
      el("div", { class: "answer" },
        el("h3", {}, answer.label),
        hasLearned && el("span", { class: "badge good" }, "learned"),
        answer.abstains && el("span", { class: "badge", title: "The model is too unsure: tell it what this is." }, "unsure"),
        el("span", { class: "confidence" }, percent(answer.confidence))),
      confidence,
      el("div", { class: "signs" }, answer.unfamiliar && el("span", { class: "badge" }, "unlike everything labelled")),
      el("div", { class: "quiet fine source" },
        el("p", {}, `version ${answer.version}`, hasChanged && ` · was ${before.label} in version ${before.version}`), again),
      makeQuestion(answer, stored, (label) => { stored = label; }));
    refresh();
  }

  function isStale() {
    return answer !== null && live.now !== null && live.now.version !== answer.version;
  }

  /** The button names the live version, if it is another. */
  function refresh() {
    again.classList.toggle("fresh", isStale());
    again.textContent = isStale() ? `Predict again with version ${live.now.version}` : "Predict again";
  }

  function remove() {
    URL.revokeObjectURL(url);
    element.remove();
  }

  const card = { element, predict, refresh, remove, isStale };
  return card;
}
