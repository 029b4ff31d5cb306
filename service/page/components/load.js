// Reads what a part of a view shows, and says so if it cannot be read.

import { el, say } from "../dom.js";

/** {element, load()}: `load` reads and shows; of several at once, the last one counts. `element`
 * holds the problem, for the view to place. What is shown stays when a later reading fails. */
export function makeLoader(read, show) {
  const element = el("p", { class: "problem", role: "alert", hidden: true });
  let newest = 0;

  async function load() {
    newest += 1;
    const mine = newest;
    try {
      const answer = await read();
      if (mine !== newest) return; // responses may arrive out of order
      say(element, null);
      show(answer);
    } catch (problem) {
      if (problem.status === undefined) throw problem; // no answer of the server: a fault of ours
      if (mine === newest) say(element, problem.message);
    }
  }

  return { element, load, stop: () => { newest += 1; } };
}

/** Calls `work` at most once in `everyMs`, and once more for what came meanwhile. */
export function throttle(work, everyMs = 1000) {
  let timer = 0;
  let isAskedAgain = false;
  const run = () => {
    isAskedAgain = false;
    work();
    timer = setTimeout(() => {
      timer = 0;
      if (isAskedAgain) run();
    }, everyMs);
  };
  const ask = () => {
    if (timer) isAskedAgain = true;
    else run();
  };
  ask.stop = () => {
    clearTimeout(timer);
    timer = 0;
    isAskedAgain = false;
  };
  return ask;
}
