// Labels on their way to the server, in the order in which they were given.
//
// Nothing is lost while the page is open: what the server did not answer stays here, and is sent
// again, with the Idempotency-Key of the first time, when the connection is back. `waiting` and
// `isHeldUp` of the state say how many there are, and whether they are stuck.
//
//   give({prediction_id | example_id | text, label})
//                                               one label
//   giveAll([{...}, ...])                       one batch of 500 at most, which can be undone as one;
//                                               promise of {batch_id, results}
//   givePhoto(file, label)                      a new photo with its label
//   takeBack({feedback_id} | {batch_id})        undo what is stored
//   undo(promise)                               undo what `give`, `giveAll` or `givePhoto` returned,
//                                               whether or not it has been sent
//
// A promise of `give` and `givePhoto` resolves with {feedback_id, example_id, label, batch_id}.
// What the server refuses rejects with its Problem; the code "withdrawn" is an undo in time.

import { Problem, newKey } from "./api/http.js";
import * as api from "./api/labels.js";
import { set, subscribe } from "./state.js";

export const MAX_BATCH = 500;
const MAX_BATCH_CHARACTERS = 1_000_000; // the server takes more
const CONCURRENT_PHOTOS = 3; // enough to keep the connection busy, and few enough for others
const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000];

// {kind: "one", label} {kind: "many", labels, parts} {kind: "photo", file, name} {kind: "undo", of},
// each with its key, `resolve` and `reject`, and `wasSent` from its first attempt on.
const queue = [];
let isSending = false;
let attempts = 0;
let timer = 0;
let takesBatches = true; // until the server says otherwise

export const size = () => queue.reduce((sum, parcel) => sum + (parcel.labels?.length ?? 1), 0);

export const give = (label) => add({ kind: "one", label });

export const giveAll = (labels) => add({ kind: "many", labels });

export const givePhoto = (file, name) => add({ kind: "photo", file, name });

export const takeBack = (of) => add({ kind: "undo", of });

export async function undo(promise) {
  const waiting = queue.find((parcel) => parcel.promise === promise && !parcel.wasSent);
  if (!waiting) {
    const { batch_id, feedback_id } = await promise;
    return takeBack(feedback_id ? { feedback_id } : { batch_id });
  }
  remove(waiting);
  waiting.reject(new Problem(0, "withdrawn", "taken back before it was sent"));
  return null;
}

export function startOutbox() {
  subscribe("connection", (connection) => {
    if (connection === "live") sendNow();
  });
  subscribe("session", sendNow);
  window.addEventListener("beforeunload", (event) => {
    if (queue.length) event.preventDefault();
  });
}

function add(parcel) {
  Object.assign(parcel, { key: newKey(), wasSent: false });
  parcel.promise = new Promise((resolve, reject) => Object.assign(parcel, { resolve, reject }));
  parcel.promise.catch(() => {}); // whoever gave it may not care; `undo` must not be unhandled
  queue.push(parcel);
  set("waiting", size());
  queueMicrotask(flush); // what is given together is sent together
  return parcel.promise;
}

function remove(...parcels) {
  for (const parcel of parcels) queue.splice(queue.indexOf(parcel), 1);
  set("waiting", size());
}

function sendNow() {
  attempts = 0;
  flush();
}

async function flush() {
  if (isSending) return;
  isSending = true;
  clearTimeout(timer);
  try {
    while (queue.length && (await sendNext()));
  } finally {
    isSending = false;
  }
}

/** Returns whether the server takes labels; if not, a later attempt is due. */
async function sendNext() {
  const passed = await Promise.all(next().map(sendOne));
  const isHeldUp = passed.includes(false);
  set("isHeldUp", isHeldUp);
  if (isHeldUp) timer = setTimeout(flush, RETRY_MS[Math.min(attempts, RETRY_MS.length - 1)]);
  attempts = isHeldUp ? attempts + 1 : 0;
  return !isHeldUp;
}

/** The first parcel, with those that can go beside it: photos, as no order matters to them. */
function next() {
  if (queue[0].kind === "photo") {
    const end = queue.findIndex((parcel) => parcel.kind !== "photo");
    return queue.slice(0, end < 0 ? CONCURRENT_PHOTOS : Math.min(end, CONCURRENT_PHOTOS));
  }
  const end = queue.findIndex((parcel) => parcel.kind !== "one" || parcel.wasSent);
  const num = numTogether(queue.slice(0, end < 0 ? MAX_BATCH : Math.min(end, MAX_BATCH)));
  if (num < 2 || !takesBatches) return [queue[0]];
  const parts = queue.slice(0, num); // they waited together, and stay together from here on
  const joined = { kind: "many", labels: parts.map(({ label }) => label), key: newKey(), parts, wasSent: false };
  queue.splice(0, num, joined);
  return [joined];
}

/** How many of the first parcels one request can hold, as texts may be long. */
function numTogether(parcels) {
  let characters = 0;
  const tooMany = parcels.findIndex(({ label }) => (characters += label.text?.length ?? 0) > MAX_BATCH_CHARACTERS);
  return tooMany < 0 ? parcels.length : tooMany;
}

/** Returns whether the server has answered, whatever it said. */
async function sendOne(parcel) {
  parcel.wasSent = true;
  try {
    const answer = await WAYS[parcel.kind](parcel);
    remove(parcel);
    settle(parcel, answer);
  } catch (problem) {
    if (parcel.kind === "many" && [404, 405].includes(problem.status)) {
      takesBatches = false;
      return sendSingly(parcel);
    }
    if (await staysWaiting(parcel, problem)) return false;
    remove(parcel);
    for (const part of parcel.parts ?? [parcel]) part.reject(problem);
  }
  return true;
}

const WAYS = {
  one: ({ label: { label, ...of }, key }) => api.label(of, label, key).then(asStored),
  many: ({ labels, key }) => api.labelAll(labels, key),
  photo: ({ file, name, key }) => api.labelPhoto(file, name, key).then(asStored),
  undo: ({ of }) => (of.feedback_id ? api.takeBack(of.feedback_id) : api.undoBatch(of.batch_id)),
};

const asStored = (answer) => ({ ...answer, feedback_id: answer.id, batch_id: null });

function settle({ parts, resolve, labels }, answer) {
  if (!parts) return resolve(answer);
  for (const [i, part] of parts.entries()) {
    const { status, problem, ...result } = answer.results[i];
    if (status === "refused") part.reject(new Problem(422, problem.code, problem.detail));
    // One label of many is taken back alone.
    else part.resolve({ label: labels[i].label, ...result, batch_id: null });
  }
}

async function staysWaiting({ kind, file }, problem) {
  if (problem.status === 401 || problem.status === 429) return true;
  if (kind !== "photo") return problem.mayPass;
  // A file that was moved or changed fails as an unreachable server does.
  const isReadable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
  return problem.mayPass && isReadable;
}

/** A server without batches: the same labels one by one, each with its own key and result. */
function sendSingly(parcel) {
  const singles = parcel.labels.map((label, i) => parcel.parts?.[i] ?? single(label));
  queue.splice(queue.indexOf(parcel), 1, ...singles);
  if (!parcel.parts) {
    const results = singles.map(({ promise }) => promise.then(
      ({ feedback_id, example_id }) => ({ status: "stored", feedback_id, example_id, problem: null }),
      ({ code, message }) => ({ status: "refused", feedback_id: null, example_id: null, problem: { code, detail: message } })));
    Promise.all(results).then((all) => parcel.resolve({ batch_id: null, results: all }));
  }
  return true;
}

function single(label) {
  const parcel = { kind: "one", label, key: newKey(), wasSent: true };
  parcel.promise = new Promise((resolve, reject) => Object.assign(parcel, { resolve, reject }));
  return parcel;
}
