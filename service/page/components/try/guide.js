// The first start: three steps to a model of one's own.

import { el, setText } from "../../dom.js";
import { counted, words } from "../../inputs.js";

const MIN_EXAMPLES = 2;

/** {element, show(status): whether the guide is needed}. */
export function makeGuide() {
  const steps = ["A first class", "A second class", "It learns"].map((title) => {
    const text = el("p", { class: "quiet fine" });
    return { text, element: el("li", {}, el("h3", {}, title), text) };
  });
  const element = el("section", { class: "guide", "aria-labelledby": "guide-title", hidden: true },
    el("h2", { id: "guide-title" }, `Two classes, two ${words().many} of each: that is all it needs to begin`),
    el("ol", { class: "steps" }, steps.map((step) => step.element)));
  let firstVersion = null; // while nothing was learned

  function show(status) {
    if (!status?.labels) return !element.hidden;
    const { labels, version, runs } = status;
    const isNew = labels.missing !== null && Object.keys(labels.examples).length < 2;
    if (isNew) firstVersion = version;
    const isNeeded = firstVersion === version;
    element.hidden = !isNeeded;
    if (isNeeded) describe(labels, runs[0]);
    return isNeeded;
  }

  function describe(labels, run) {
    const taught = Object.entries(labels.examples).sort(([, a], [, b]) => b - a);
    const isDone = [taught.length > 0 && taught[0][1] >= MIN_EXAMPLES, labels.missing === null, false];
    const current = isDone.indexOf(false);
    const say = (i, missing) => {
      const [name, number] = taught[i] ?? [];
      return name === undefined ? missing : `${name}: ${counted(number)}`;
    };
    const texts = [
      say(0, `Name it, and give at least two ${words().many} of it.`),
      say(1, `Then another, with at least two ${words().many}.`),
      run ? `${run.state === "running" ? run.step : "starting"}…` : `By itself, within seconds. Then show it a new ${words().one}.`,
    ];
    for (const [i, { element: item, text }] of steps.entries()) {
      setText(text, texts[i]);
      item.className = isDone[i] ? "done" : i === current ? "current" : "";
      if (i === current) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
  }

  return { element, show };
}
