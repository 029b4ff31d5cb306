// Signing in with a key, and out. Without keys there is nothing to see of it.

import * as api from "./api.js";
import { byId, say, setText } from "./dom.js";

/** Returns whether the page may start: false while a key is needed. */
export async function enter() {
  let session = null;
  try {
    session = await api.session();
  } catch (problem) {
    if (problem.status !== 401) return true; // the page itself says what is wrong
    askForKey();
    return false;
  }
  if (session.is_signed_in) {
    setText(byId("session-name"), `Signed in as ${session.name}, who may ${session.role}`);
    byId("session").hidden = false;
    byId("sign-out").addEventListener("click", leave);
  }
  return true;
}

function askForKey() {
  document.body.classList.add("signed-out");
  byId("sign-in").hidden = false;
  byId("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn();
  });
  byId("sign-in-key").focus();
}

async function signIn() {
  const field = byId("sign-in-key");
  const button = byId("sign-in-send");
  say(byId("sign-in-problem"), null);
  button.disabled = true;
  try {
    await api.signIn(field.value.trim());
    field.value = ""; // the browser keeps no copy in the page
    location.reload();
  } catch (problem) {
    say(byId("sign-in-problem"), problem.message);
    button.disabled = false;
    field.select();
  }
}

async function leave() {
  await api.signOut();
  location.reload();
}
