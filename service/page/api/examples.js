// Labelled examples, one by one, and what is near to them.

import { read } from "./http.js";

export const example = (id) => read(`v1/examples/${id}`);

/** The nearest labelled examples of {prediction} or {example}. */
export const neighbours = (of, limit = 3) => read("v1/neighbours", { ...of, limit });

/** The address of what the server keeps of an input: `what` is image or text, `kind` example or
 * prediction, `size` thumbnail or whole. */
export const addressOf = (what, { kind, id }, size) =>
  `v1/${kind === "example" ? "examples" : "predictions"}/${encodeURIComponent(id)}/${what}?size=${size}`;
