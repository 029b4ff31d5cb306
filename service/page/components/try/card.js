// A photo or text and its prediction: label, version, confidence, and what it is near to.

import { el, fill, put } from "../../dom.js";
import { isSameClass, percent } from "../../format.js";
import { titleWords, words } from "../../inputs.js";
import * as outbox from "../../outbox.js";
import { may } from "../../session.js";
import { get } from "../../state.js";
import { showNearest } from "./nearest.js";
import { makeQuestion } from "./question.js";
import { announce } from "../toast.js";

const NO_CLASSES = "no-classes"; // the code of the problem where nothing is labelled yet

/** `asked` as inputs.js has it. */
export function makeCard(asked, { onRemove }) {
  const { name } = asked;
  const body = el("div", { class: "card-body" }, el("p", { class: "quiet" }, "Predicting…"));
  const removeButton = el("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, onclick: () => onRemove(card) }, "×");
  const element = el("article", { class: "card", tabindex: "0", "aria-label": `${titleWords().one} ${name}`, "aria-busy": "true", onkeydown: onKey },
    el("div", { class: "asked" }, asked.preview, removeButton), body);
  const again = el("button", { type: "button", class: "link again", onclick: () => predict() }, "Predict again");
  let answer = null;
  let unknownTo = null; // the version that knew no class when it was asked
  let before = null; // the prediction of an earlier version
  let given = null; // the label given here: {label, promise, feedback_id}
  let question = null;

  /** `isByItself`: a new version is live, and nobody asked. */
  async function predict(isByItself = false) {
    element.setAttribute("aria-busy", "true");
    try {
      const newest = await asked.predict();
      unknownTo = null;
      if (answer && answer.version !== newest.version) before = answer;
      answer = newest;
      show();
      tell(isByItself);
    } catch (problem) {
      if (!answer && problem.code === NO_CLASSES) showFirst();
      else if (!answer) showProblem(problem); // else the earlier answer stays, with the way to ask again
    }
    element.setAttribute("aria-busy", "false");
  }

  function showProblem(problem) {
    // What is rejected would be rejected again.
    const retry = problem.mayPass && el("button", { type: "button", class: "plain", onclick: () => predict() }, "Try again");
    put(body, el("p", { class: "problem", role: "alert" }, problem.message), retry);
  }

  /** Nothing can be answered before there are classes: its label is the first of them. */
  function showFirst() {
    unknownTo = get("status")?.version ?? 0;
    question = may("label") ? ask([], asked.give) : null;
    put(body, el("p", { class: "quiet" }, question
      ? `It knows no class yet. Name the class of this ${words().one}: with two classes of two ${words().many} each, it learns.`
      : "It knows no class yet: somebody has to label first."), question?.element);
  }

  const ask = (top, send) => makeQuestion({ top, send, given, onGiven: (now) => { given = now; } });

  function tell(isByItself) {
    if (isByItself && !hasChanged()) return;
    const sign = answer.unfamiliar ? ", unlike everything labelled" : "";
    announce(`${name}: ${answer.label}, ${percent(answer.confidence)}${sign}${hasChanged() ? `, ${describeChange()}` : ""}`);
  }

  const hasChanged = () => before !== null && before.label !== answer.label;
  const hasLearned = () => hasChanged() && given !== null && isSameClass(given.label, answer.label);
  const describeChange = () =>
    `was ${before.label} in version ${before.version}, now ${answer.label}${hasLearned() ? ": learned" : ""}`;

  function show() {
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    const confidence = el("div", { class: "bar", "aria-hidden": "true" });
    fill(confidence, answer.confidence);
    question = may("label") ? ask(answer.top, (label) => outbox.give({ prediction_id: answer.prediction_id, label })) : null;
    const nearest = el("div", { class: "nearest", hidden: true });
    put(body,
      el("div", { class: "answer" }, el("h2", {}, answer.label), el("span", { class: "confidence" }, percent(answer.confidence))),
      confidence,
      el("div", { class: "signs" },
        answer.abstains && el("span", { class: "badge warn", title: "The model is too unsure: tell it what this is." }, "unsure"),
        answer.unfamiliar && el("span", { class: "badge warn" }, "unlike everything labelled"),
        answer.zero_shot && el("span", { class: "badge warn", title: "Nothing is labelled yet: it compares with the names of the classes." }, "by class names alone"),
        answer.truncated && el("span", { class: "badge warn", title: "It is longer than the model reads." }, "only its beginning was read")),
      answer.note && el("p", { class: "quiet fine sentence" }, answer.note),
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
    const of = answer?.version ?? unknownTo;
    return of !== null && live !== undefined && live !== of;
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
    asked.forget();
    element.remove();
  }

  const card = {
    element, predict, refresh, remove, isStale,
    /** Whether somebody is typing a class: the field must not be replaced. */
    isTypedIn: () => question?.isTypedIn() ?? false,
  };
  return card;
}
