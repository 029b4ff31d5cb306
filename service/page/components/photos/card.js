// A photo and its prediction: label, version, confidence, and what it looks like.

import * as api from "../../api/photos.js";
import { el, fill, put } from "../../dom.js";
import { isSameClass, percent } from "../../format.js";
import { may } from "../../session.js";
import { get } from "../../state.js";
import { showNearest } from "./nearest.js";
import { makeQuestion } from "./question.js";
import { announce } from "../toast.js";

export function makeCard(file, { onRemove }) {
  const url = URL.createObjectURL(file);
  const body = el("div", { class: "card-body" }, el("p", { class: "quiet" }, "Predicting…"));
  const removeButton = el("button", { type: "button", class: "remove", "aria-label": `Remove ${file.name}`, onclick: () => onRemove(card) }, "×");
  const thumbnail = el("img", { src: url, alt: file.name, decoding: "async" });
  const element = el("article", { class: "card", tabindex: "0", "aria-label": `Photo ${file.name}`, "aria-busy": "true", onkeydown: onKey },
    el("div", { class: "thumbnail" }, thumbnail, removeButton), body);
  const again = el("button", { type: "button", class: "link again", onclick: () => predict() }, "Predict again");
  let answer = null;
  let before = null; // the prediction of an earlier version
  let given = null; // the label given here: {label, promise, feedback_id}
  let question = null;

  // The service reads some formats that browsers cannot show.
  thumbnail.addEventListener("error", () => {
    thumbnail.parentNode.classList.add("bare");
    thumbnail.replaceWith(file.name);
  });

  /** `isByItself`: a new version is live, and nobody asked. */
  async function predict(isByItself = false) {
    element.setAttribute("aria-busy", "true");
    try {
      const newest = await api.predict(file);
      if (answer && answer.version !== newest.version) before = answer;
      answer = newest;
      show();
      tell(isByItself);
    } catch (problem) {
      if (!answer) showProblem(problem); // else the earlier answer stays, with the way to ask again
    }
    element.setAttribute("aria-busy", "false");
  }

  function showProblem(problem) {
    // A rejected photo would be rejected again.
    const retry = problem.mayPass && el("button", { type: "button", class: "plain", onclick: () => predict() }, "Try again");
    put(body, el("p", { class: "problem", role: "alert" }, problem.message), retry);
  }

  function tell(isByItself) {
    if (isByItself && !hasChanged()) return;
    const sign = answer.unfamiliar ? ", unlike everything labelled" : "";
    announce(`${file.name}: ${answer.label}, ${percent(answer.confidence)}${sign}${hasChanged() ? `, ${describeChange()}` : ""}`);
  }

  const hasChanged = () => before !== null && before.label !== answer.label;
  const hasLearned = () => hasChanged() && given !== null && isSameClass(given.label, answer.label);
  const describeChange = () =>
    `was ${before.label} in version ${before.version}, now ${answer.label}${hasLearned() ? ": learned" : ""}`;

  function show() {
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    const confidence = el("div", { class: "bar", "aria-hidden": "true" });
    fill(confidence, answer.confidence);
    question = may("label") ? makeQuestion(answer, given, (now) => { given = now; }) : null;
    const nearest = el("div", { class: "nearest", hidden: true });
    put(body,
      el("div", { class: "answer" }, el("h2", {}, answer.label), el("span", { class: "confidence" }, percent(answer.confidence))),
      confidence,
      el("div", { class: "signs" },
        answer.abstains && el("span", { class: "badge warn", title: "The model is too unsure: tell it what this is." }, "unsure"),
        answer.unfamiliar && el("span", { class: "badge warn" }, "unlike everything labelled")),
      hasChanged() && el("p", { class: hasLearned() ? "change good" : "change" }, describeChange()),
      el("div", { class: "quiet fine source" }, el("p", {}, `version ${answer.version}`), again),
      question?.element,
      nearest);
    if (may("label")) showNearest(nearest, { prediction: answer.prediction_id });
    if (focused) (focused === again ? again : element).focus({ preventScroll: true });
    refresh();
  }

  function isStale() {
    const live = get("status")?.version;
    return answer !== null && live !== undefined && live !== answer.version;
  }

  /** The button names the live version, if it is another. */
  function refresh() {
    again.classList.toggle("fresh", isStale());
    again.textContent = isStale() ? `Predict again with version ${get("status").version}` : "Predict again";
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
    if (event.key === "Delete" && event.target === element) onRemove(card);
    else if (!question?.press(event.key)) return;
    event.preventDefault();
  }

  function remove() {
    URL.revokeObjectURL(url);
    element.remove();
  }

  const card = {
    element, predict, refresh, remove, isStale,
    /** Whether somebody is typing a class: the field must not be replaced. */
    isTypedIn: () => question?.isTypedIn() ?? false,
  };
  return card;
}
