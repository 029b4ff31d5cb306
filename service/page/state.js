// The one store of the page. Whoever shows a part subscribes to it; whoever learns of one sets it.
//
// session      {name, role, is_signed_in, since}, or null before it is known
// status       the newest answer of /v1/status, or null
// connection   "live", "reconnecting" or "offline"
// problem      why the status could not be read: a Problem, or null
// input        "image" or "text": what the installation classifies. Ask inputs.js
// classes      names for suggestions, the most labelled first
// waiting      how many labels are in the outbox, on their way to the server
// isHeldUp     whether the server did not take them at the last attempt
// newestLabel  the id of the newest label event that the stream told of
// newestImport the state of the newest import that the stream told of

const parts = new Map(
  Object.entries({ session: null, status: null, connection: "reconnecting", problem: null, input: "image", classes: [], waiting: 0, isHeldUp: false, newestLabel: null, newestImport: null }),
);
const subscribers = new Map();

export const get = (part) => parts.get(part);

/** Subscribers hear of it if it differs. Values are replaced, never changed in place. */
export function set(part, value) {
  if (!parts.has(part)) throw new Error(`the state has no part ${part}`);
  if (isSame(parts.get(part), value)) return;
  parts.set(part, value);
  for (const hear of [...(subscribers.get(part) ?? [])]) hear(value);
}

/** Calls `hear(value)` at each change from now on. Returns the function that ends it. */
export function subscribe(part, hear) {
  if (!parts.has(part)) throw new Error(`the state has no part ${part}`);
  if (!subscribers.has(part)) subscribers.set(part, new Set());
  subscribers.get(part).add(hear);
  return () => subscribers.get(part).delete(hear);
}

/** As `subscribe`, and calls `hear` at once with what is there. */
export function watch(part, hear) {
  const stop = subscribe(part, hear);
  hear(get(part));
  return stop;
}

function isSame(one, other) {
  if (Object.is(one, other)) return true;
  if (one instanceof Error || other instanceof Error) return false;
  return JSON.stringify(one) === JSON.stringify(other);
}
