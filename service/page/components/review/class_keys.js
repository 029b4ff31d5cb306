// Which class each digit sets. The most labelled come first; the order stays for the sitting, so that
// the fingers can rely on it, and new classes take the next place.

import { classes as readClasses } from "../../api/learning.js";
import { NONE_OF_THESE, isSameClass } from "../../format.js";
import { get } from "../../state.js";

const KEPT = "class-keys";
const MAX_DIGIT = 9;

let order = read();

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
  } catch {
    return [];
  }
}

function keep() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(order));
  } catch {
    // Without storage the order lasts as long as the page.
  }
}

const has = (names, name) => names.some((each) => isSameClass(each, name));

/** Read the classes again. Those that are gone lose their digit. */
export async function loadClasses() {
  const { classes } = await readClasses();
  const names = classes.filter(({ examples }) => examples > 0)
    .sort((one, other) => other.examples - one.examples).map(({ name }) => name);
  const kept = order.filter((name) => has(names, name));
  order = [...kept, ...names.filter((name) => !has(kept, name))];
  keep();
}

/** A class that was just used: it has a digit if there is one left. */
export function remember(name) {
  if (isSameClass(name, NONE_OF_THESE) || has(order, name)) return;
  order = [...order, name];
  keep();
}

/** Names with a digit: the first is set by 1. */
export const withDigit = () => order.slice(0, MAX_DIGIT);

/** All names to choose from. */
export const allNames = () => [...order, ...get("classes").filter((name) => !has(order, name))];
