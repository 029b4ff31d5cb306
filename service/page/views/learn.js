// Learn: the run that is going on, what more labels would give, the classes, and the last runs.

import * as api from "../api/learning.js";
import { balance } from "../components/charts/balance.js";
import { curve } from "../components/charts/curve.js";
import { heading, panel } from "../components/heading.js";
import { makeLoader, throttle } from "../components/load.js";
import { makeRunPanel } from "../components/runs/run.js";
import { runsList } from "../components/runs/runs.js";
import { el, put } from "../dom.js";
import { get, subscribe, watch } from "../state.js";

export const title = "Learn";
export const role = "label";

const RUNS = 6;
const ANALYSED_MS = 5000;
const LOOKS = 30; // in vain, if this version is never analysed

export function mount(root) {
  const run = makeRunPanel();
  const ofCurve = el("div", { class: "stack" });
  const ofClasses = el("div", { class: "stack" });
  const ofRuns = el("div", {});
  let analysed = null; // the version of the learning curve
  let measured = ""; // when the learning curve was computed
  const learning = makeLoader(api.learningCurve, (answer) => {
    analysed = answer.version;
    if (`${answer.computed_at} ${answer.text}` === measured) return; // what is open must not close
    measured = `${answer.computed_at} ${answer.text}`;
    put(ofCurve, curve(answer));
  });
  const classes = makeLoader(api.classes, ({ classes: all }) => put(ofClasses, balance(all)));
  const runs = makeLoader(() => api.runs(limit + 1), showRuns);
  let limit = RUNS;
  function showRuns(all) {
    const older = el("button", { type: "button", class: "plain small", onclick: () => { limit += 4 * RUNS; runs.load(); } }, "Show older");
    put(ofRuns, runsList(all.slice(0, limit)), all.length > limit && older);
  }

  root.append(heading(title), el("div", { class: "with-side" },
    el("div", { class: "stack" },
      run.element,
      panel("Are more labels worth it?", learning.element, ofCurve),
      panel("Last runs", runs.element, ofRuns)),
    panel("Classes", classes.element, ofClasses)));

  let seen = null;
  const loadClasses = throttle(classes.load);
  // Versions are analysed some time after their run, which no event tells.
  let looks = LOOKS;
  const loadCurve = throttle(() => { looks -= 1; learning.load(); }, ANALYSED_MS);
  const stops = [
    watch("status", (status) => {
      run.show(status);
      if (!status) return;
      // An ended run may have changed all that it measures.
      const newest = `${status.version} ${status.last_run?.id} ${status.last_run?.state} ${status.runs.length}`;
      if (newest !== seen) looks = LOOKS;
      if (analysed !== status.version && looks > 0) loadCurve();
      if (newest === seen) return;
      seen = newest;
      runs.load();
      loadClasses();
    }),
    subscribe("newestLabel", loadClasses),
  ];
  if (get("status") === null) for (const { load } of [learning, runs, classes]) load();
  return () => {
    for (const stop of [...stops, run.stop, loadClasses.stop, loadCurve.stop, learning.stop, classes.stop, runs.stop]) stop();
  };
}
