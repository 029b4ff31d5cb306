// The strip at the top: the live version, the labels, and the current run.

import * as api from "./api.js";
import { byId, count, el, fill, say, setText } from "./dom.js";
import * as live from "./live.js";
import { announce, toast } from "./toast.js";

const MAX_CLASSES_SHOWN = 12;

let version = null;
let isReachable = true;
let tally = "";
let changed = "";

export function startLearning() {
  byId("retrain").addEventListener("click", () => act(byId("retrain"), api.retrain));
  byId("cancel").addEventListener("click", () => {
    const run = live.now?.runs[0];
    if (run) act(byId("cancel"), () => api.cancelRun(run.id));
  });
  live.watch(show);
}

async function act(button, work) {
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true"; // `disabled` would take the focus away
  say(byId("retrain-problem"), null);
  try {
    await work();
  } catch (problem) {
    say(byId("retrain-problem"), problem.message);
  }
  button.ariaDisabled = "false";
  live.refresh();
}

function show(status, problem) {
  byId("live").classList.toggle("off", !status);
  if (!status && isReachable) announce("The service does not respond");
  isReachable = Boolean(status);
  if (!status) {
    setText(byId("live-text"), "Not reachable");
    setText(byId("state-title"), "The service does not respond");
    say(byId("state-detail"), problem.status ? problem.message : "Trying again every two seconds.");
    return;
  }
  const { labels } = status;
  setText(byId("live-text"), `Version ${status.version} is live`);
  if (!labels) {
    const cause = status.degraded.find((each) => each.what === "database");
    setText(byId("state-title"), "The database does not answer");
    say(byId("state-detail"), cause?.reason ?? null);
    return;
  }
  const numTrained = Object.values(labels.examples).reduce((sum, n) => sum + n, 0);
  setText(byId("figure-version"), String(status.version));
  setText(byId("figure-classes"), status.classes.toLocaleString("en"));
  setText(byId("figure-trained"), numTrained.toLocaleString("en"));
  setText(byId("figure-held-out"), labels.held_out.toLocaleString("en"));
  setText(byId("figure-waiting"), labels.waiting.toLocaleString("en"));
  setText(byId("workers"), describeWorkers(status));
  showRun(status);
  showTally(labels.examples);
  if (version !== null && version !== status.version) {
    toast(`Version ${status.version} is live`);
  }
  version = status.version;
  const newest = `${version} ${numTrained} ${labels.held_out}`;
  if (newest !== changed) say(byId("retrain-problem"), null); // it may be out of date
  changed = newest;
}

function showRun(status) {
  const run = status.runs.find((r) => r.state === "running") ?? status.runs[0];
  byId("cancel").hidden = !run;
  byId("run-bar").hidden = !run;
  if (run) {
    fill(byId("run-bar"), run.progress);
    setText(byId("state-title"), run.state === "running" ? `Learning: ${run.step}` : "A run is about to start");
    say(byId("state-detail"), null);
    return;
  }
  const [title, detail] = describeRest(status);
  setText(byId("state-title"), title);
  say(byId("state-detail"), detail);
}

/** Without a run: the last result, or what is missing. Returns a title and a line. */
function describeRest({ version, labels, last_run: last, trainers, promotion_waiting: waiting }) {
  if (waiting !== null) return [`Swapping in version ${waiting}`, "Every process loads it first; no request is interrupted."];
  if (labels.missing) {
    const isEmpty = Object.keys(labels.examples).length === 0;
    return isEmpty
      ? ["Waiting for its first labels", "It starts by itself with two classes of two photos each: correct predictions, or teach it photos."]
      : ["Waiting for more labels", labels.missing];
  }
  if (trainers === 0) return ["No trainer is running", "Labels are kept, but nothing retrains until one starts."];
  if (!last) return ["Ready to learn", null];
  if (last.state === "failed") return ["The last run failed", last.error];
  if (last.state === "cancelled") return ["The last run was cancelled", null];
  if (last.outcome !== "promoted") return [`Version ${last.version} was held back`, last.reason];
  return last.version === version
    ? [`Version ${last.version} took over`, last.reason]
    : [`Version ${version} is live again, chosen after version ${last.version}`, null];
}

function describeWorkers({ workers, version: current }) {
  const num = count(workers.length, "process", "processes");
  const behind = workers.filter((worker) => worker.version !== current).length;
  const failing = workers.flatMap((worker) => worker.problems);
  if (failing.length) return `${num}; could not load: ${failing[0]}`;
  return behind ? `${num}, ${behind} switching to version ${current}` : `${num}, all on version ${current}`;
}

function showTally(examples) {
  const key = JSON.stringify(examples);
  if (key === tally) return;
  tally = key;
  const rows = Object.entries(examples).sort(([, a], [, b]) => b - a);
  const most = rows[0]?.[1] ?? 1;
  byId("labels-empty").hidden = rows.length > 0;
  byId("labels").hidden = rows.length === 0;
  byId("labels").replaceChildren(...rows.slice(0, MAX_CLASSES_SHOWN).map(([name, num]) => {
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    fill(bar, num / most);
    return el("li", {}, el("span", { class: "name" }, name), bar, el("span", { class: "number" }, String(num)));
  }));
  const rest = rows.length - MAX_CLASSES_SHOWN;
  say(byId("labels-more"), rest > 0 ? `and ${count(rest, "more class", "more classes")}` : null);
}
