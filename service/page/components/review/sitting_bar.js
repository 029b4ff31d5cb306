// One line above the grid: how many are labelled, how many wait for training, when the next run starts.

import { el, fill, setText } from "../../dom.js";
import { count, whole } from "../../format.js";
import { get, subscribe } from "../../state.js";
import { progressBar } from "../bar.js";
import { hearSitting, numStored } from "./sitting.js";

/** What is said of the next run. */
export function describeNext(status) {
  const { labels, runs, trainers, promotion_waiting: swapping, version } = status;
  if (!labels) return "the database does not answer";
  const running = runs.find((run) => run.state === "running");
  if (running) return `learning: ${running.step}`;
  if (swapping !== null) return `version ${swapping} is being swapped in`;
  if (runs.length) return "a run is about to start";
  if (labels.missing) return labels.missing;
  if (trainers === 0) return "no trainer is running: labels are kept";
  return labels.waiting ? "the next run starts when you pause" : `version ${version} has learnt them all`;
}

/** Returns `{element, close}`. */
export function makeSittingBar() {
  const done = el("strong", {}, "0");
  const training = el("span", { class: "quiet wide" });
  const next = el("span", { class: "quiet" });
  const progress = progressBar("Progress of the next version");
  const element = el("div", { class: "sitting" },
    el("p", { class: "sitting-text" }, el("span", {}, done, " labelled in this sitting"), training, next), progress);

  function show() {
    const status = get("status");
    setText(done, whole(numStored()));
    setText(training, status?.labels ? `${count(status.labels.waiting, "label waits", "labels wait")} for training` : "");
    setText(next, status ? describeNext(status) : "");
    const run = status?.runs.find((each) => each.state === "running");
    progress.ariaHidden = String(!run);
    progress.classList.toggle("idle", !run); // it keeps its room, so that nothing jumps
    fill(progress, run?.progress ?? 0);
  }

  const stops = [subscribe("status", show), hearSitting(show)];
  show();
  return { element, close: () => stops.forEach((stop) => stop()) };
}
