// Predictions, and labels of photos. Labels go through outbox.js, which calls these.

import { asJson, read, send, sendAgain, who } from "./http.js";

export async function predict(file) {
  // The service detects the format from the bytes, and rejects other files with a reason.
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  const options = { headers: { "Content-Type": type }, body: file };
  return (await sendAgain("POST", "v1/predict?top=5", options)).answer;
}

/** `of` is {prediction_id} or {example_id}. A request that is sent again with its key stores no
 * second label. */
export async function label(of, name, key) {
  const options = asJson({ ...of, label: name, who: who() });
  options.headers["Idempotency-Key"] = key;
  return (await send("POST", "v1/feedback", options)).answer;
}

/** Up to 500 of {prediction_id or example_id, label}: {batch_id, results}. */
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

export const example = (id) => read(`v1/examples/${id}`);

/** The nearest labelled photos of {prediction} or {example}. */
export const neighbours = (of, limit = 3) => read("v1/neighbours", { ...of, limit });

export const exampleImage = (id, size = "thumbnail") => `v1/examples/${id}/image?size=${size}`;

export const predictionImage = (id, size = "thumbnail") => `v1/predictions/${id}/image?size=${size}`;
