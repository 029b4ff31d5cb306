// Labels, given and taken back. They go through outbox.js, which calls these.

import { asJson, send, sendAgain, who } from "./http.js";

/** `of` is {prediction_id}, {example_id} or {text}. A request that is sent again with its key stores
 * no second label. */
export async function label(of, name, key) {
  const options = asJson({ ...of, label: name, who: who() });
  options.headers["Idempotency-Key"] = key;
  return (await send("POST", "v1/feedback", options)).answer;
}

/** Up to 500 of {prediction_id, example_id or text, label}: {batch_id, results}. */
export async function labelAll(labels, key) {
  const options = asJson({ labels, who: who() });
  options.headers["Idempotency-Key"] = key;
  return (await send("POST", "v1/feedback/batch", options)).answer;
}

export async function labelPhoto(file, name, key) {
  const body = new FormData();
  body.append("label", name);
  if (who()) body.append("who", who());
  body.append("image", file);
  return (await send("POST", "v1/feedback", { headers: { "Idempotency-Key": key }, body })).answer;
}

const asWho = () => (who() ? `?who=${who()}` : "");

export const takeBack = async (feedbackId) =>
  (await sendAgain("DELETE", `v1/feedback/${feedbackId}${asWho()}`)).answer;

/** Take back all labels of a batch that nobody has changed since. */
export const undoBatch = async (batchId) =>
  (await sendAgain("DELETE", `v1/batches/${batchId}${asWho()}`)).answer;
