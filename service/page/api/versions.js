// Versions: their figures, how two differ, and which one is champion.

import { asJson, read, send, who } from "./http.js";

/** Newest first; `before` a number, for older ones. */
export const versions = async (limit, before = null) =>
  (await read("v1/versions", { limit, before })).versions;

export const version = (number) => read(`v1/versions/${number}`);

export const diff = (before, after, limit = 60) =>
  read(`v1/versions/${before}/diff/${after}`, { limit });

export const modelOf = (number) => `v1/versions/${number}/model.onnx`;

/** The champion and its ETag, which a promotion sends to fail if the champion has changed. */
export async function champion() {
  const { answer, response } = await send("GET", "v1/champion");
  return { ...answer, etag: response.headers.get("ETag") };
}

export async function promote(number, etag) {
  const options = asJson({ version: number, who: who(), why: "chosen on the page" });
  options.headers["If-Match"] = etag;
  const { answer, response } = await send("PUT", "v1/champion", options);
  return { ...answer, isLive: response.status === 200 };
}
