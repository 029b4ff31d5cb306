// Predictions of texts, and their reading.

import { addressOf } from "./examples.js";
import { Problem, asJson, readText, sendAgain } from "./http.js";

const MAX_TEXTS = 64; // of one request
const PATH = "v1/predict?top=5";

let waiting = []; // {text, resolve, reject}

/** Resolves with the prediction. Those that are asked for together are sent together. */
export function predict(text) {
  return new Promise((resolve, reject) => {
    if (!waiting.length) setTimeout(sendWaiting, 0);
    waiting.push({ text, resolve, reject });
  });
}

function sendWaiting() {
  const all = waiting;
  waiting = [];
  for (let start = 0; start < all.length; start += MAX_TEXTS) sendSome(all.slice(start, start + MAX_TEXTS));
}

async function sendSome(asked) {
  try {
    if (asked.length === 1) {
      asked[0].resolve((await sendAgain("POST", PATH, asJson({ text: asked[0].text }))).answer);
      return;
    }
    const { answer } = await sendAgain("POST", PATH, asJson({ texts: asked.map(({ text }) => text) }));
    for (const [i, { resolve, reject }] of asked.entries()) {
      const { prediction, problem } = answer.items[i];
      if (problem) reject(new Problem(problem.status, problem.code, problem.detail));
      else resolve(prediction);
    }
  } catch (problem) {
    for (const { reject } of asked) reject(problem);
  }
}

/** The beginning of a text that the server has, or the whole of it. */
export const read = (item, size = "thumbnail") => readText(addressOf("text", item, size));
