// What the service is doing now: asks /v1/status again and again, and tells whoever watches.

import * as api from "./api.js";

const EVERY_MS = 2000;
// A run can be over in a second: look closer while there is one, and after something was sent.
const CLOSER_MS = 500;
const CLOSER_FOR_MS = 10_000;

const watchers = [];
let timer = 0;
let asking = false;
let askAgain = false;
let closerUntil = 0;

/** The newest status, null before the first and while the service cannot be reached. */
export let now = null;

/** `watcher(status, problem)` is called after every look; one of the two is null. */
export function watch(watcher) {
  watchers.push(watcher);
}

/** Look at once, and closely for a while: something was sent, or the page came into view. */
export function refresh() {
  closerUntil = Date.now() + CLOSER_FOR_MS;
  return look();
}

async function look() {
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
    look();
  } else {
    schedule();
  }
}

function schedule() {
  clearTimeout(timer);
  if (document.hidden) return; // nobody looks; visibilitychange goes on
  const isBusy = now !== null && (now.runs.length > 0 || Date.now() < closerUntil);
  timer = setTimeout(look, isBusy ? CLOSER_MS : EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
