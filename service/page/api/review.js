// Lists, queues, the map, and changes of classes.

import { asJson, newKey, read, sendAgain, who } from "./http.js";

/** This tab, to the queue: what it was shown a moment ago, nobody else is shown. */
function reviewer() {
  let name = null;
  try {
    name = sessionStorage.getItem("reviewer");
    if (!name) sessionStorage.setItem("reviewer", (name = newKey()));
  } catch {
    name ??= fallback;
  }
  return name;
}
const fallback = newKey();

/** `{items, waiting, analysis}`; `by` is doubt, suspect or unfamiliar. */
export const queue = (by, limit) => read("v1/queue", { by, limit, reviewer: reviewer() });

/** `{examples, next_after, analysis}`. */
export const examples = (query) => read("v1/examples", query);

/** `{predictions, next_after}`. */
export const predictions = (query) => read("v1/predictions", query);

export const map = () => read("v1/map", { limit: 20000 });

const change = async (path, body) => (await sendAgain("POST", path, keyed({ ...body, who: who() }))).answer;

function keyed(body) {
  const options = asJson(body);
  options.headers["Idempotency-Key"] = newKey();
  return options;
}

/** Each answers `{batch_id, changed, name}`. */
export const renameClass = (from, to) => change("v1/classes/rename", { from, to });
export const mergeClasses = (from, to) => change("v1/classes/merge", { from, to });
export const deleteClass = (name) => change("v1/classes/delete", { name });
