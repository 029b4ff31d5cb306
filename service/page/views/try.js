// Try: a card for each photo or text, and teaching beside it. Both stay as they are while others are shown.

import { labelled } from "../classes.js";
import { bar } from "../components/bar.js";
import { heading, panel } from "../components/heading.js";
import { makeCard } from "../components/try/card.js";
import { makeGuide } from "../components/try/guide.js";
import { makeQueue } from "../components/try/queue.js";
import { makeTeaching } from "../components/try/teach.js";
import { el, put, say } from "../dom.js";
import { count, whole } from "../format.js";
import { kind, titleWords, words } from "../inputs.js";
import { may } from "../session.js";
import { watch } from "../state.js";

export const title = "Try";

// Those that a new version answers by itself, the newest first.
const MOST_ANSWERED_AGAIN = 40;
const MAX_CLASSES_SHOWN = 10;

const cards = []; // the newest first
const predictSoon = makeQueue(() => kind().concurrent, ({ card, isByItself }) => card.predict(isByItself));
let built = null;
let builtFor = {}; // the kind, and whether whoever is signed in may label

export function mount(root) {
  if (builtFor.kind !== kind() || builtFor.mayLabel !== may("label")) built = build();
  root.append(built.element);
  const stops = [watch("status", built.show), built.listen()];
  return () => {
    for (const stop of stops) stop();
  };
}

function build() {
  builtFor = { kind: kind(), mayLabel: may("label") };
  const ask = kind().makeAsk(add);
  const list = el("div", { id: "cards", class: `cards ${kind().list.look}`, onkeydown: moveFocus }, cards.map((card) => card.element));
  const again = el("button", { id: "ask-again", type: "button", class: "plain small", hidden: true, onclick: () => answerAgain(cards) }, "Predict all again");
  const clear = el("button", { id: "ask-clear", type: "button", class: "plain small", hidden: true, onclick: () => { cards.slice().forEach(remove); ask.focus(); } }, "Clear");
  const keys = el("p", { class: "quiet fine keys with-mouse", hidden: true }, `With a ${words().one} in focus: `,
    ["a", "1", "x", "⌫"].flatMap((key, i) => [el("kbd", {}, key), ` ${["accept", "to 9 choose", "none of these", "undo"][i]}  `]));
  const asking = el("section", { class: "ask", id: "ask", "aria-label": `${titleWords().many} to try` }, ask.element, keys, list);
  const side = makeSide();
  const columns = el("div", { class: "with-side try" }, asking, side?.element);
  const element = el("div", {}, heading(title, again, clear), side?.guide, columns);

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
    asking.classList.toggle("has-cards", cards.length > 0);
    clear.hidden = keys.hidden = cards.length === 0;
    keys.hidden ||= !may("label");
    again.hidden = cards.filter((card) => card.isStale()).length < 2;
  }

  return { element, list, show, refresh, listen: ask.listen };
}

/** Teaching, with the guide of the first start; null for those who may not label. */
function makeSide() {
  if (!may("label")) return null;
  const guide = makeGuide();
  const tally = el("ul", { id: "labels", class: "tally" });
  const more = el("p", { class: "quiet fine", hidden: true });
  const labels = panel("Labels by class", tally, more);
  const element = el("div", { class: "stack" },
    panel("Teach it", el("p", { class: "quiet fine" }, kind().teaching.about), makeTeaching()), labels);

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

function add(asked) {
  const added = asked.map((each) => makeCard(each, { onRemove: remove }));
  built.list.prepend(...added.map((card) => card.element));
  cards.unshift(...added);
  for (const card of added) predictSoon({ card }).then(built.refresh);
  built.refresh();
}

/** Arrows lead from card to card. */
function moveFocus(event) {
  const step = kind().moves[event.key];
  if (!step || !event.target.matches(".card")) return;
  event.preventDefault();
  (step > 0 ? event.target.nextElementSibling : event.target.previousElementSibling)?.focus();
}

function remove(card) {
  const hadFocus = card.element.contains(document.activeElement);
  const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
  card.remove();
  cards.splice(cards.indexOf(card), 1);
  if (hadFocus) next?.focus();
  built.refresh();
}
