// The last runs, each with what asked for it, what came of it, and why.

import { el } from "../../dom.js";
import { duration, when } from "../../format.js";
import { address } from "../../router.js";
import { describePlan } from "./run.js";

const TRIGGERS = {
  request: "on request", labels: "new labels", quiet: "labels paused", schedule: "by the clock", erasure: "after an erasure", plan: "the planner",
};

export function runsList(runs) {
  if (!runs.length) return el("p", { class: "quiet" }, "Nothing has run yet.");
  return el("ol", { class: "runs" }, runs.map((run) => {
    const plan = describePlan(run);
    const reason = run.error ?? run.reason;
    return el("li", { "data-run": run.id },
      el("div", { class: "run-head" },
        outcome(run),
        el("span", {}, run.tier === "blocks" ? "blocks" : "head", " · ", TRIGGERS[run.trigger] ?? run.trigger),
        el("span", { class: "quiet fine" }, took(run)),
        el("span", { class: "quiet fine" }, when(run.finished_at ?? run.created_at))),
      plan && el("p", { class: "fine quiet sentence" }, plan),
      reason && el("p", { class: "fine sentence" }, reason));
  }));
}

function outcome({ state, outcome: result, version }) {
  const number = version && el("a", { href: address("versions") }, `version ${version}`);
  if (state === "failed") return el("span", { class: "badge bad" }, "failed");
  if (state !== "finished") return el("span", { class: "badge" }, state);
  return result === "promoted"
    ? el("span", {}, el("span", { class: "badge good" }, "promoted"), " ", number)
    : el("span", {}, el("span", { class: "badge warn" }, "held back"), " ", number);
}

function took({ started_at: from, finished_at: to }) {
  return from && to ? duration(Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000)) : "";
}
