// Polls /v1/status, and calls the watchers with each status.

import * as api from "./api.js";

const EVERY_MS = 2000;
// A run can end within a second: poll faster during a run, and after a change.
const FAST_MS = 500;
const FAST_FOR_MS = 10_000;

const watchers = [];
let timer = 0;
let isPolling = false;
let pollAgain = false;
let fastUntil = 0;

/** The newest status; null before the first one and while the service cannot be reached. */
export let now = null;

/** `watcher(status, problem)` is called after every poll; one of the two is null. */
export function watch(watcher) {
  watchers.push(watcher);
}

/** Poll now, and fast for a while: something changed, or the page came into view. */
export function refresh() {
  fastUntil = Date.now() + FAST_FOR_MS;
  return poll();
}

async function poll() {
  clearTimeout(timer);
  if (isPolling) {
    pollAgain = true;
    return;
  }
  isPolling = true;
  let problem = null;
  try {
    now = await api.status();
  } catch (error) {
    now = null;
    problem = error;
  }
  isPolling = false;
  for (const watcher of watchers) watcher(now, problem);
  if (pollAgain) {
    pollAgain = false;
    poll();
  } else {
    schedule();
  }
}

function schedule() {
  clearTimeout(timer);
  if (document.hidden) return; // visibilitychange polls again
  const isBusy = now !== null && (now.runs.length > 0 || Date.now() < fastUntil);
  timer = setTimeout(poll, isBusy ? FAST_MS : EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
