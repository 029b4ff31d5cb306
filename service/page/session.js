// Signing in with a key, and out. Without keys there is nothing to see of it.

import { whenKeyRequired } from "./api/http.js";
import * as api from "./api/session.js";
import { byId, say, setText } from "./dom.js";
import { get, set } from "./state.js";

const ROLES = ["predict", "label", "train", "admin"];

let resolveEntry = null;

/** Whether whoever is signed in may do what needs this role. The server checks it as well. */
export function may(role) {
  const mine = get("session")?.role;
  return mine === undefined || ROLES.indexOf(mine) >= ROLES.indexOf(role);
}

/** Resolves once the page may start: at once, or when a key has been given. */
export async function enter() {
  byId("sign-in-form").addEventListener("submit", signIn);
  byId("sign-out").addEventListener("click", leave);
  whenKeyRequired(askForKey);
  try {
    become(await api.session());
  } catch (problem) {
    // Without an answer, the page itself says what is wrong.
    if (problem.status === 401) await new Promise((resolve) => { resolveEntry = resolve; });
  }
}

function become(session) {
  set("session", { ...session, since: Date.now() }); // a sign-in counts, even of the same key
  byId("session").hidden = !session.is_signed_in;
  setText(byId("session-name"), `Signed in as ${session.name}, who may ${session.role}`);
}

/** The page stays behind the form, with what it holds: labels that wait are sent afterwards. */
function askForKey() {
  if (document.body.classList.contains("signed-out")) return;
  document.body.classList.add("signed-out");
  byId("sign-in").hidden = false;
  byId("sign-in-key").focus();
}

async function signIn(event) {
  event.preventDefault();
  const field = byId("sign-in-key");
  const button = byId("sign-in-send");
  say(byId("sign-in-problem"), null);
  button.disabled = true;
  try {
    const session = await api.signIn(field.value.trim());
    field.value = ""; // the browser keeps no copy in the page
    document.body.classList.remove("signed-out");
    byId("sign-in").hidden = true;
    become(session);
    resolveEntry?.();
  } catch (problem) {
    say(byId("sign-in-problem"), problem.message);
    field.select();
  }
  button.disabled = false;
}

async function leave() {
  await api.signOut();
  location.reload();
}
