// Imports of files.

import { Problem, read, send, who } from "./http.js";

/** Send a file, which the server reads by its name, with `parameters` of the query.
 * `onProgress(fraction)` tells how much is sent; `signal` aborts it. */
export function upload(file, parameters, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much is sent
    const query = new URLSearchParams({ name: file.name, ...parameters, ...(who() ? { who: who() } : {}) });
    request.open("POST", `v1/imports?${query}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("load", () => {
      const answer = request.response;
      if (request.status === 202) resolve(answer);
      else reject(new Problem(request.status, answer?.code ?? "unknown", answer?.detail ?? `the service responded with ${request.status}`));
    });
    request.addEventListener("error", () => reject(new Problem(0, "unreachable", "the service cannot be reached, or it refused the file; try again")));
    request.addEventListener("abort", () => reject(new Problem(0, "aborted", "stopped before it was sent")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

export const list = async (limit) => (await read("v1/imports", { limit })).imports;

export const get = (id) => read(`v1/imports/${id}`);

export const cancel = async (id) => (await send("DELETE", `v1/imports/${id}`)).answer;
