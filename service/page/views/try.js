// Try: a card for each photo, and teaching beside it. Both stay as they are while others are shown.

import { labelled } from "../classes.js";
import { bar } from "../components/bar.js";
import { makeCard } from "../components/photos/card.js";
import { makeGuide } from "../components/photos/guide.js";
import { heading, panel } from "../components/heading.js";
import { acceptPaste, acceptPhotos, makeQueue } from "../components/photos/photos.js";
import { makeTeaching } from "../components/photos/teach.js";
import { el, put, say, svg } from "../dom.js";
import { count, whole } from "../format.js";
import { may } from "../session.js";
import { watch } from "../state.js";

export const title = "Try";

const CONCURRENT = 4;
// Those that a new version answers by itself, the newest first.
const MOST_ANSWERED_AGAIN = 40;
const MAX_CLASSES_SHOWN = 10;

const cards = []; // the newest first
const predictSoon = makeQueue(CONCURRENT, ({ card, isByItself }) => card.predict(isByItself));
let built = null;
let builtFor = null; // whether whoever is signed in may label

export function mount(root) {
  if (builtFor !== may("label")) built = build();
  root.append(built.element);
  const stops = [watch("status", built.show), acceptPaste(add)];
  return () => {
    for (const stop of stops) stop();
  };
}

function build() {
  builtFor = may("label");
  const files = el("input", { id: "ask-files", class: "unseen", type: "file", accept: "image/*", multiple: true });
  const drop = el("label", { class: "drop", id: "ask-drop" }, files,
    svg("svg", { viewBox: "0 0 48 40", width: "48", height: "40", "aria-hidden": "true" },
      svg("path", { d: "M6 6h28a4 4 0 0 1 4 4v20a4 4 0 0 1-4 4H6a4 4 0 0 1-4-4V10a4 4 0 0 1 4-4zM13 12.5a3.5 3.5 0 1 0 .01 0zM5 31l10-9 7 6 8-9 8 7M42 2v10M37 7h10" })),
    el("strong", {}, el("span", { class: "with-mouse" }, "Drop photos here"), el("span", { class: "with-touch" }, "Add photos")),
    el("span", { class: "quiet" },
      el("span", { class: "with-mouse" }, "or paste them, or ", el("span", { class: "as-link" }, "choose files")),
      el("span", { class: "with-touch" }, "and see what they are")));
  const list = el("div", { id: "cards", class: "cards", onkeydown: moveFocus }, cards.map((card) => card.element));
  const again = el("button", { id: "ask-again", type: "button", class: "plain small", hidden: true, onclick: () => answerAgain(cards) }, "Predict all again");
  const clear = el("button", { id: "ask-clear", type: "button", class: "plain small", hidden: true, onclick: () => { cards.slice().forEach(remove); files.focus(); } }, "Clear");
  const keys = el("p", { class: "quiet fine keys with-mouse", hidden: true }, "With a photo in focus: ",
    ["a", "1", "x", "⌫"].flatMap((key, i) => [el("kbd", {}, key), ` ${["accept", "to 9 choose", "none of these", "undo"][i]}  `]));
  const ask = el("section", { class: "ask", id: "ask", "aria-label": "Photos to try" }, drop, keys, list);
  const side = makeSide();
  const columns = el("div", { class: "with-side try" }, ask, side?.element);
  const element = el("div", {}, heading(title, again, clear), side?.guide, columns);
  acceptPhotos(drop, files, add);

  let version = null;
  function show(status) {
    refresh();
    columns.classList.toggle("first-start", side?.show(status) ?? false);
    if (!status || status.version === version) return;
    if (version !== null) answerAgain(cards.slice(0, MOST_ANSWERED_AGAIN), true);
    version = status.version;
  }

  function refresh() {
    for (const card of cards) card.refresh();
    ask.classList.toggle("has-cards", cards.length > 0);
    clear.hidden = keys.hidden = cards.length === 0;
    keys.hidden ||= !may("label");
    again.hidden = cards.filter((card) => card.isStale()).length < 2;
  }

  return { element, list, show, refresh };
}

/** Teaching, with the guide of the first start; null for those who may not label. */
function makeSide() {
  if (!may("label")) return null;
  const guide = makeGuide();
  const tally = el("ul", { id: "labels", class: "tally" });
  const more = el("p", { class: "quiet fine", hidden: true });
  const labels = panel("Labels by class", tally, more);
  const element = el("div", { class: "stack" },
    panel("Teach it", el("p", { class: "quiet fine" }, "Many photos of one class together."), makeTeaching()), labels);

  function show(status) {
    const names = labelled();
    const examples = status?.labels?.examples ?? {};
    labels.hidden = names.length === 0;
    const most = examples[names[0]] ?? 1;
    put(tally, names.slice(0, MAX_CLASSES_SHOWN).map((name) =>
      el("li", {}, el("span", { class: "name" }, name), bar(examples[name] / most), el("span", { class: "number" }, whole(examples[name])))));
    const rest = names.length - MAX_CLASSES_SHOWN;
    say(more, rest > 0 ? `and ${count(rest, "more class", "more classes")}` : null);
    return guide.show(status);
  }

  return { element, guide: guide.element, show };
}

function answerAgain(those, isByItself = false) {
  for (const card of those) {
    if (card.isStale() && !card.isTypedIn()) predictSoon({ card, isByItself }).then(built.refresh);
  }
}

function add(files) {
  const added = files.map((file) => makeCard(file, { onRemove: remove }));
  built.list.prepend(...added.map((card) => card.element));
  cards.unshift(...added);
  for (const card of added) predictSoon({ card }).then(built.refresh);
  built.refresh();
}

/** Arrows lead from photo to photo. */
function moveFocus(event) {
  const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
  if (!step || !event.target.matches(".card")) return;
  event.preventDefault();
  event.target[step]?.focus();
}

function remove(card) {
  const hadFocus = card.element.contains(document.activeElement);
  const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
  card.remove();
  cards.splice(cards.indexOf(card), 1);
  if (hadFocus) next?.focus();
  built.refresh();
}
