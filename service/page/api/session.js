// Who the page is to the service.

import { asJson, send } from "./http.js";

/** Fails with status 401 if it needs a key. */
export const session = async () => (await send("GET", "v1/session")).answer;

/** Exchange a key for a cookie that no script can read. */
export const signIn = async (key) => (await send("POST", "v1/session", asJson({ key }))).answer;

export const signOut = () => send("DELETE", "v1/session");
