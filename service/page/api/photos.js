// Predictions of photos, and where to see them.

import { addressOf } from "./examples.js";
import { sendAgain } from "./http.js";

export async function predict(file) {
  // The service detects the format from the bytes, and rejects other files with a reason.
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  const options = { headers: { "Content-Type": type }, body: file };
  return (await sendAgain("POST", "v1/predict?top=5", options)).answer;
}

export const imageOf = (item, size = "thumbnail") => addressOf("image", item, size);
