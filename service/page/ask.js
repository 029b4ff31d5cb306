// "Try it": a card for each photo.

import { makeCard } from "./card.js";
import { byId } from "./dom.js";
import * as live from "./live.js";
import { acceptPaste, acceptPhotos, makeQueue } from "./photos.js";

const CONCURRENT = 4;

const cards = new Set();
const predictSoon = makeQueue(CONCURRENT, (card) => card.predict());

export function startAsking() {
  acceptPhotos(byId("ask-drop"), byId("ask-files"), add);
  acceptPaste(add);
  byId("ask-clear").addEventListener("click", () => {
    for (const card of [...cards]) remove(card);
    byId("ask-files").focus();
  });
  byId("ask-again").addEventListener("click", () => {
    for (const card of cards) if (card.isStale()) predictSoon(card);
  });
  live.watch(refresh);
}

function add(files) {
  const added = files.map((file) => makeCard(file, { onRemove: remove }));
  byId("cards").prepend(...added.map((card) => card.element));
  for (const card of added) {
    cards.add(card);
    predictSoon(card).then(refresh);
  }
  refresh();
}

function remove(card) {
  card.remove();
  cards.delete(card);
  refresh();
}

function refresh() {
  for (const card of cards) card.refresh();
  byId("ask").classList.toggle("has-cards", cards.size > 0);
  byId("ask-clear").hidden = cards.size === 0;
  byId("ask-again").hidden = [...cards].filter((card) => card.isStale()).length < 2;
}
