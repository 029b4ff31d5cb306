// What the service is doing now: asks /v1/status again and again, and tells whoever watches.

import * as api from "./api.js";

const EVERY_MS = 2000;
// A run can be over in a second: look closer while there is one, or one is about to begin.
const CLOSER_MS = 500;

const watchers = [];
let timer = 0;
let asking = false;
let askAgain = false;

/** The newest status, null before the first and while the service cannot be reached. */
export let now = null;

/** `watcher(status, problem)` is called after every look; one of the two is null. */
export function watch(watcher) {
  watchers.push(watcher);
}

/** Look at once, for instance after something was sent. */
export async function refresh() {
  clearTimeout(timer);
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  let problem = null;
  try {
    now = await api.status();
  } catch (error) {
    now = null;
    problem = error;
  }
  asking = false;
  for (const watcher of watchers) watcher(now, problem);
  if (askAgain) {
    askAgain = false;
    refresh();
  } else {
    schedule();
  }
}

function schedule() {
  clearTimeout(timer);
  if (document.hidden) return; // nobody looks; visibilitychange goes on
  const isBusy = now !== null && (now.runs.length > 0 || now.labels.waiting > 0);
  timer = setTimeout(refresh, isBusy ? CLOSER_MS : EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
