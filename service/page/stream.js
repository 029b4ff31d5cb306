// The state of the server, pushed: one stream of events, which is opened again when it ends.
//
// Where no stream can be had (a proxy that holds it back, too many of them), the status is polled
// until one can. Nothing else on the page polls.

import { status as readStatus } from "./api/learning.js";
import { set, subscribe } from "./state.js";

const POLL_MS = 2000;
const RETRY_MS = [250, 1000, 2000, 4000, 8000, 15000];
const STREAM_AGAIN_MS = 60_000;
const SILENT_MS = 6000; // a first status comes at once, unless something holds it back

let source = null;
let timer = 0;
let silence = 0;
let attempts = 0;
let isPolling = false;
let streamAgainAt = 0;

export function startStream() {
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : open()));
  window.addEventListener("online", () => { attempts = 0; open(); });
  window.addEventListener("pagehide", pause);
  subscribe("session", () => { attempts = 0; open(); });
  open();
}

/** Something changed by this page. The stream tells of it; polling need not wait. */
export function refresh() {
  if (isPolling) poll();
}

// A browser opens few connections to a host, and a stream keeps one: hidden pages have none.
function pause() {
  close();
  clearTimeout(timer);
}

function close() {
  source?.close();
  source = null;
  clearTimeout(silence);
}

function open() {
  pause();
  isPolling = false;
  let hasSpoken = false;
  const opened = new EventSource("v1/stream");
  source = opened;
  const heard = () => {
    if (!hasSpoken) clearTimeout(silence);
    hasSpoken = true;
    attempts = 0;
  };
  silence = setTimeout(() => end(opened, false), SILENT_MS);
  opened.addEventListener("status", (event) => {
    heard();
    answered(JSON.parse(event.data));
  });
  opened.addEventListener("labels", (event) => {
    heard();
    set("newestLabel", JSON.parse(event.data).newest);
  });
  opened.addEventListener("import", (event) => {
    heard();
    set("newestImport", JSON.parse(event.data));
  });
  opened.addEventListener("error", () => end(opened, hasSpoken));
}

/** A stream has ended, or none could be had: which of the two, the status tells. */
async function end(ended, hasSpoken) {
  if (ended !== source) return;
  close();
  if (hasSpoken) {
    set("connection", "reconnecting");
    again();
    return;
  }
  if (await poll()) {
    isPolling = true;
    streamAgainAt = Date.now() + STREAM_AGAIN_MS;
  } else {
    again();
  }
}

function again() {
  clearTimeout(timer);
  if (document.hidden) return; // becoming visible opens it
  timer = setTimeout(open, RETRY_MS[Math.min(attempts, RETRY_MS.length - 1)]);
  attempts += 1;
}

/** Returns whether the server has answered. */
async function poll() {
  clearTimeout(timer);
  try {
    answered(await readStatus());
  } catch (problem) {
    set("problem", problem);
    set("connection", attempts < 2 ? "reconnecting" : "offline");
    if (isPolling) again();
    return false;
  }
  if (!document.hidden) timer = setTimeout(() => (Date.now() > streamAgainAt ? open() : poll()), POLL_MS);
  return true;
}

function answered(status) {
  set("problem", null);
  set("connection", "live");
  set("status", status);
}
