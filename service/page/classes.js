// Suggested labels: the classes labelled so far, then the classes of the model.

import * as api from "./api.js";
import { byId, el } from "./dom.js";
import * as live from "./live.js";

let known = [];
let knownOf = null;
let shown = "";

live.watch(async (status) => {
  if (!status) return;
  if (status.version !== knownOf) {
    knownOf = status.version;
    try {
      known = await api.classesOf(status.version);
    } catch {
      knownOf = null; // the next poll tries again
    }
  }
  offer([...new Set([...labelled(), ...known])]);
});

/** Labelled classes, the most labelled first. */
export function labelled() {
  const examples = Object.entries(live.now?.labels?.examples ?? {});
  return examples.sort(([, a], [, b]) => b - a).map(([name]) => name);
}

/** Whether two names are spellings of one class. The server decides it more strictly. */
export function isSameClass(one, other) {
  const fold = (name) => name.normalize("NFKC").toLowerCase().trim().replace(/\s+/g, " ");
  return fold(one) === fold(other);
}

function offer(names) {
  const key = JSON.stringify(names);
  if (key === shown) return;
  shown = key;
  byId("classes").replaceChildren(...names.map((name) => el("option", { value: name })));
}
