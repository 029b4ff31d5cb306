// Texts that the server has. They come from anyone, so they are text nodes and nothing else, each
// with a direction of its own: characters that turn the direction end with the element.

import { read } from "../../api/texts.js";
import { el } from "../../dom.js";

const MAX_KEPT = 2000;
const NO_TEXT = "the text cannot be read";

const kept = new Map(); // address to a promise of the excerpt

// Only what is in view is read: the map's tooltip and lists without excerpts.
const wanted = new WeakMap();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    fill(target, excerptOf(wanted.get(target)));
  }
});

function excerptOf(item) {
  const key = `${item.kind} ${item.id}`;
  if (!kept.has(key)) {
    if (kept.size >= MAX_KEPT) kept.delete(kept.keys().next().value);
    kept.set(key, read(item).catch((problem) => {
      kept.delete(key);
      throw problem;
    }));
  }
  return kept.get(key);
}

async function fill(node, reading) {
  try {
    node.textContent = await reading;
  } catch {
    node.textContent = NO_TEXT;
    node.classList.add("no-text");
  }
}

/** An excerpt, which the stylesheet cuts to some lines. */
export function preview(item) {
  const node = el("p", { class: "preview excerpt", dir: "auto" });
  if (item.excerpt) node.textContent = item.excerpt;
  else if (item.excerpt === null) { // the server says that it cannot be read
    node.textContent = NO_TEXT;
    node.classList.add("no-text");
  } else {
    wanted.set(node, item);
    observer.observe(node);
  }
  return node;
}

export function whole(item, name) {
  const node = el("div", { class: "whole-text", dir: "auto", tabindex: "0", role: "region", "aria-label": name }, "Reading the text…");
  fill(node, read(item, "whole"));
  return node;
}

// The characters that begin a part with its own direction, and end it.
const [ISOLATE, END] = ["\u2068", "\u2069"];
const NAME_CHARACTERS = 60;

/** The beginning of a text, to name it by where there is no element for it. */
export function nameOf(text) {
  const line = text.trim().replace(/\s+/g, " ");
  const cut = [...line.slice(0, 2 * NAME_CHARACTERS)];
  const shown = cut.length > NAME_CHARACTERS ? `${cut.slice(0, NAME_CHARACTERS).join("")}…` : line;
  return `${ISOLATE}${shown}${END}`;
}
