// Requests of the page, and the errors that they end with.

import { get } from "../state.js";

/** An error response, with the message of the service (RFC 9457). Status 0: nothing answered. */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }

  /** Whether the same request may pass later. */
  get mayPass() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const ATTEMPTS = 3;
const PAUSE_MS = 700;

let onKeyRequired = () => {};

/** Called when a key is needed, or no longer in force. */
export function whenKeyRequired(handler) {
  onKeyRequired = handler;
}

/** `who` of the labels and promotions made on the page. With a key it is the key's name, and is
 * not sent. */
export const who = () => (get("session")?.name ? undefined : "page");

/** Returns {answer, response}. Throws a Problem. */
export async function send(method, path, { headers = {}, body, cache, asText = false } = {}) {
  let response;
  try {
    response = await fetch(path, { method, headers, body, cache: cache ?? "no-store" });
  } catch {
    throw new Problem(0, "unreachable", "the service cannot be reached, or the file cannot be read; try again");
  }
  const answer = response.ok && asText ? await response.text() : await response.json().catch(() => null);
  if (!response.ok) {
    if (response.status === 401) onKeyRequired();
    const detail = answer?.detail ?? `the service responded with ${response.status}`;
    throw new Problem(response.status, answer?.code ?? "unknown", detail);
  }
  return { answer, response };
}

/** The body of a GET that is plain text. The browser may keep it, as the server says. */
export const readText = async (path) => (await send("GET", path, { cache: "default", asText: true })).answer;

/** For idempotent requests: try again when the service is briefly unavailable. */
export async function sendAgain(method, path, options) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send(method, path, options);
    } catch (problem) {
      if (attempt === ATTEMPTS || ![0, 503].includes(problem.status)) throw problem;
      await new Promise((resolve) => setTimeout(resolve, attempt * PAUSE_MS));
    }
  }
}

/** The answer of a GET with the parameters of the query that are given. */
export async function read(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => ![null, undefined, ""].includes(value));
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return (await send("GET", text ? `${path}?${text}` : path)).answer;
}

export const asJson = (value) => ({
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(value),
});

/** For Idempotency-Key. `crypto.randomUUID` is missing on plain http from another machine. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
