// The labels given since this tab was opened, and how to undo them. A label shows at once; what the
// server refuses comes back with the reason.

import { MAX_BATCH, giveAll, undo } from "../../outbox.js";

const MAX_ACTIONS = 200;

const actions = []; // {parts: [{promise, num, isEmpty}], apply, revert, isUndone}
const hearers = new Set();
let stored = 0;

/** How many labels the server has stored, without those undone. */
export const numStored = () => stored;
export const canUndo = () => actions.length > 0;

/** Calls `hear()` when the numbers change. Returns the function that ends it. */
export function hearSitting(hear) {
  hearers.add(hear);
  return () => hearers.delete(hear);
}

function tell(change) {
  stored += change;
  for (const hear of hearers) hear();
}

const asLabel = ({ item, label }) =>
  (item.kind === "example" ? { example_id: item.id, label } : { prediction_id: item.id, label });

/**
 * Label items as one action: `given` is [{item, label}]. `apply()` shows the labels and `revert()` what
 * was before; `refused([{item, label, problem}])` is called for those that are not stored.
 */
export function labelAll(given, { apply, revert, refused }) {
  const action = { parts: [], apply, revert, isUndone: false };
  apply();
  for (let start = 0; start < given.length; start += MAX_BATCH) {
    const labels = given.slice(start, start + MAX_BATCH);
    const part = { promise: giveAll(labels.map(asLabel)), num: 0, isEmpty: false };
    action.parts.push(part);
    follow(action, part, labels, refused);
  }
  actions.push(action);
  if (actions.length > MAX_ACTIONS) actions.shift();
  tell(0);
}

async function follow(action, part, given, refused) {
  let problems;
  try {
    const { batch_id: batch, results } = await part.promise;
    part.isEmpty = batch === null; // each was labelled so before
    problems = given.flatMap((each, k) => (results[k].status === "refused" ? [{ ...each, problem: results[k].problem.detail }] : []));
  } catch (problem) {
    part.isEmpty = true;
    problems = given.map((each) => ({ ...each, problem: problem.message }));
  }
  if (action.isUndone) return;
  part.num = given.length - problems.length;
  tell(part.num);
  if (problems.length) refused(problems);
  if (action.parts.every(({ isEmpty }) => isEmpty)) forget(action);
}

function forget(action) {
  const index = actions.indexOf(action);
  if (index >= 0) actions.splice(index, 1);
  tell(0);
}

/**
 * Undo the last action as one; false if there is none. What was before shows at once. Throws a
 * Problem, and shows the labels again, if the server refuses.
 */
export async function undoLast() {
  const action = actions.pop();
  if (!action) return false;
  action.isUndone = true;
  action.revert();
  const num = action.parts.reduce((sum, part) => sum + part.num, 0);
  tell(-num);
  try {
    await Promise.all(action.parts.filter(({ isEmpty }) => !isEmpty).map(({ promise }) => undo(promise)));
  } catch (problem) {
    action.apply();
    tell(num);
    throw problem;
  }
  return true;
}
