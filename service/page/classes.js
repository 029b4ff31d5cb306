// Suggested labels: the classes labelled so far, then the classes of the live version.

import { version } from "./api/versions.js";
import { byId, el, put } from "./dom.js";
import { get, set, subscribe, watch } from "./state.js";

let known = [];
let knownOf = null;

export function startClasses() {
  watch("status", async (status) => {
    if (!status) return;
    offer();
    if (status.version === knownOf) return;
    knownOf = status.version;
    try {
      known = (await version(status.version)).classes;
      offer();
    } catch {
      knownOf = null; // the next status tries again
    }
  });
  subscribe("classes", (names) => put(byId("classes"), names.map((name) => el("option", { value: name }))));
}

/** Labelled classes, the most labelled first. */
export function labelled() {
  const examples = Object.entries(get("status")?.labels?.examples ?? {});
  return examples.sort(([one, a], [other, b]) => b - a || one.localeCompare(other)).map(([name]) => name);
}

const offer = () => set("classes", [...new Set([...labelled(), ...known])]);
