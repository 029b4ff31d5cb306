// The run that is going on: its steps, the time left, cancel; and the way to ask for another.

import * as api from "../../api/learning.js";
import { busy, el, fill, put, say, setText } from "../../dom.js";
import { duration } from "../../format.js";
import { words } from "../../inputs.js";
import { may } from "../../session.js";
import { get } from "../../state.js";
import { refresh } from "../../stream.js";
import { progressBar } from "../bar.js";
import { epochs } from "../charts/epochs.js";

const STEPS = {
  head: ["reading labels", "embedding", "training", "judging", "publishing", "swapping"],
  blocks: ["embedding", "decoding", "fine-tuning", "exporting", "reading labels", "training", "judging", "publishing", "swapping"],
};
const EVERY_MS = 1000;
const MIN_KNOWN = 0.05; // before this share, the time left would be a guess
const DEFAULT_MINUTES = "10";

/** {element, show(status), stop()}. */
export function makeRunPanel() {
  const title = el("h2", { id: "state-title" }, "Connecting to the service…");
  const detail = el("p", { id: "state-detail", class: "quiet sentence", hidden: true });
  const bar = progressBar("Progress of the run", { hidden: true });
  const steps = el("ol", { class: "run-steps", hidden: true });
  const left = el("p", { class: "quiet fine", hidden: true });
  const curves = el("div", { class: "stack" });
  const problem = el("p", { id: "retrain-problem", class: "problem", role: "alert", hidden: true });
  const cancel = el("button", { id: "cancel", type: "button", class: "plain", hidden: true, onclick: () => act(cancel, () => api.cancelRun(current().id)) }, "Cancel the run");
  const retrain = el("button", { id: "retrain", type: "button", class: "plain", onclick: () => act(retrain, () => api.retrain()) }, "Retrain the head");
  const minutes = el("input", { id: "retrain-minutes", type: "number", min: 1, max: 10000, value: DEFAULT_MINUTES, "aria-label": "Minutes to fine-tune" });
  const tune = el("button", { id: "retrain-blocks", type: "submit", class: "plain" }, "Fine-tune blocks");
  const tuning = el("form", { class: "row tuning", onsubmit: (event) => {
    event.preventDefault();
    act(tune, () => api.retrain("blocks", minutes.valueAsNumber));
  } }, tune, el("span", { class: "fine" }, "for"), minutes, el("span", { class: "fine" }, "minutes"));
  const element = el("section", { class: "panel", "aria-labelledby": "state-title" },
    title, detail, bar, steps, left, curves, problem,
    el("div", { class: "buttons" }, cancel, may("train") && [retrain, tuning]));
  const timer = setInterval(tick, EVERY_MS);

  const current = () => {
    const runs = get("status")?.runs ?? [];
    return runs.find((run) => run.state === "running") ?? runs[0] ?? null;
  };

  async function act(button, work) {
    say(problem, null);
    await busy(button, async () => {
      try {
        await work();
      } catch (error) {
        say(problem, error.message);
      }
    });
    refresh();
  }

  let seen = "";
  function show(status) {
    if (!status) return;
    const run = current();
    bar.hidden = steps.hidden = !run;
    cancel.hidden = !run || !may("train");
    const newest = `${status.version} ${status.last_run?.id} ${run?.id}`;
    if (seen !== newest) say(problem, null); // it may be out of date
    seen = newest;
    if (run) showRun(run);
    else {
      const [text, more] = describeRest(status);
      setText(title, text);
      say(detail, more);
    }
    showCurves(run ?? status.last_run);
    tick();
  }

  let drawn = "";
  function showCurves(run) {
    const newest = `${run?.id} ${run?.parameters?.epochs?.length ?? 0}`;
    if (newest === drawn) return; // what is open must not close
    drawn = newest;
    put(curves, run ? epochs(run) : []);
  }

  function showRun(run) {
    setText(title, run.state === "running" ? `Learning: ${run.step}` : "A run is about to start");
    say(detail, describePlan(run));
    fill(bar, run.progress);
    const names = STEPS[run.tier] ?? STEPS.head;
    const at = names.indexOf(/^epoch/.test(run.step) ? "fine-tuning" : run.step);
    steps.hidden = run.state !== "running" || at < 0;
    put(steps, names.map((name, i) => el("li", { class: i < at ? "done" : i === at ? "current" : "", "aria-current": i === at && "step" }, name)));
  }

  function tick() {
    const run = current();
    say(left, run?.state === "running" ? timeLeft(run) : null);
  }

  return { element, show, stop: () => clearInterval(timer) };
}

function timeLeft({ started_at: startedAt, progress }) {
  const elapsed = Math.max(0, (Date.now() - Date.parse(startedAt)) / 1000);
  if (progress < MIN_KNOWN || elapsed < 2) return `${duration(elapsed)} so far`;
  return `${duration(elapsed)} so far, about ${duration((elapsed * (1 - progress)) / progress)} left`;
}

/** What the planner said when it asked for the run; null: someone or something else did. */
export const describePlan = ({ parameters }) => parameters?.wanted?.reason ?? null;

/** Without a run: the last result, or what is missing. Returns a title and a line. */
function describeRest({ version, labels, last_run: last, trainers, degraded, promotion_waiting: waiting }) {
  if (!labels) return ["The database does not answer", degraded.find(({ what }) => what === "database")?.reason ?? null];
  if (waiting !== null) return [`Swapping in version ${waiting}`, "Every process loads it first; no request is interrupted."];
  if (labels.missing) {
    return Object.keys(labels.examples).length === 0
      ? ["Waiting for its first labels", `It starts by itself with two classes of two ${words().many} each: correct predictions, or teach it ${words().many}.`]
      : ["Waiting for more labels", labels.missing];
  }
  if (trainers === 0) return ["No trainer is running", "Labels are kept, but nothing retrains until one starts."];
  if (!last) return ["Ready to learn", null];
  if (last.state === "failed") return ["The last run failed", last.error];
  if (last.state === "cancelled") return ["The last run was cancelled", null];
  if (last.outcome !== "promoted") return [last.version ? `Version ${last.version} was held back` : "The last run changed nothing", last.reason];
  return last.version === version
    ? [`Version ${last.version} took over`, last.reason]
    : [`Version ${version} is live again, chosen after version ${last.version}`, null];
}
