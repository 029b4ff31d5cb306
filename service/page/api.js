// The HTTP interface: one function for each request of the page.

/** An error response, with the message of the service (RFC 9457). */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

// `who` of the labels and promotions made on the page. With a key it is the key's name, and is not
// sent.
let who = "page";
let hasEntered = false;
const ATTEMPTS = 3;
const PAUSE_MS = 700;

async function send(method, path, { headers = {}, body, cache } = {}) {
  let response;
  try {
    response = await fetch(path, { method, headers, body, cache: cache ?? "no-store" });
  } catch {
    throw new Problem(0, "unreachable", "the service cannot be reached, or the file cannot be read; try again");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    if (response.status === 401 && hasEntered) location.reload(); // to the sign-in
    const detail = answer?.detail ?? `the service responded with ${response.status}`;
    throw new Problem(response.status, answer?.code ?? "unknown", detail);
  }
  return { answer, response };
}

/** For idempotent requests: try again when the service is briefly unavailable. */
async function sendAgain(method, path, options) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send(method, path, options);
    } catch (problem) {
      if (attempt === ATTEMPTS || ![0, 503].includes(problem.status)) throw problem;
      await new Promise((resolve) => setTimeout(resolve, attempt * PAUSE_MS));
    }
  }
}

const asJson = (value) => ({
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(value),
});

/** For Idempotency-Key. `crypto.randomUUID` is missing on plain http from another machine. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Who the page is to the service. Fails with status 401 if it needs a key. */
export async function session() {
  const { answer } = await send("GET", "v1/session");
  if (answer.name !== null) who = undefined;
  hasEntered = true;
  return answer;
}

/** Exchange a key for a cookie that no script can read. */
export const signIn = async (key) => (await send("POST", "v1/session", asJson({ key }))).answer;

export const signOut = () => send("DELETE", "v1/session");

export async function predict(file) {
  // The service detects the format from the bytes, and rejects other files with a reason.
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  const options = { headers: { "Content-Type": type }, body: file };
  return (await sendAgain("POST", "v1/predict?top=5", options)).answer;
}

/** One key per click: a request that is sent again stores no second label. */
export async function labelPrediction(predictionId, label) {
  const options = asJson({ prediction_id: predictionId, label, who });
  options.headers["Idempotency-Key"] = newKey();
  return (await sendAgain("POST", "v1/feedback", options)).answer;
}

export async function labelPhoto(file, label) {
  const body = new FormData();
  body.append("label", label);
  if (who) body.append("who", who);
  body.append("image", file);
  const options = { headers: { "Idempotency-Key": newKey() }, body };
  return (await sendAgain("POST", "v1/feedback", options)).answer;
}

export async function takeBack(feedbackId) {
  return (await sendAgain("DELETE", `v1/feedback/${feedbackId}${who ? `?who=${who}` : ""}`)).answer;
}

export const status = async () => (await send("GET", "v1/status")).answer;

export const retrain = async () => (await send("POST", "v1/retrain")).answer;

export const cancelRun = async (id) => (await send("DELETE", `v1/runs/${id}`)).answer;

export const versions = async (limit) =>
  (await send("GET", `v1/versions?limit=${limit}`)).answer.versions;

export const classesOf = async (version) =>
  (await send("GET", `v1/versions/${version}`)).answer.classes;

/** The champion and its ETag, which a promotion sends to fail if the champion has changed. */
export async function champion() {
  const { answer, response } = await send("GET", "v1/champion");
  return { ...answer, etag: response.headers.get("ETag") };
}

export async function promote(version, etag) {
  const options = asJson({ version, who, why: "chosen on the page" });
  options.headers["If-Match"] = etag;
  const { answer, response } = await send("PUT", "v1/champion", options);
  return { ...answer, isLive: response.status === 200 };
}
