// Where the items of the grid come from: a queue, the examples, the predictions, or ids that the map
// chose. The address holds all of it, so that a view can be shared and reloaded.

import * as api from "../../api/review.js";
import { isSameClass } from "../../format.js";
import { titleWords, words } from "../../inputs.js";

/** Name, title and what is in it. */
export const sources = () => [
  ["doubt", "Most doubtful", "Predictions whose labels would teach the most."],
  ["suspect", "Suspect labels", "Labels that the model, trained without them, does not believe."],
  ["unfamiliar", "Unfamiliar", `${titleWords().many} unlike everything labelled.`],
  ["predictions", "All predictions", `Predictions whose ${words().many} are still kept, the newest first.`],
  ["examples", "All labelled", `All ${words().many} with a label.`],
];

// The filters that each list of the API takes.
const FILTERS = {
  examples: ["class", "held_out", "source", "since", "until", "agrees", "suspected", "unfamiliar", "labelled", "predicted", "sort"],
  predictions: ["label", "version", "unfamiliar", "since", "until"],
};
const PAGE = 200;
const QUEUE = 100;
const MAX_PAGES = 10; // read in a row for one that has a match
export const MAX_IDS = 500;

/** Read the parameters of the address: `{name, filters, ids}`; `name` is of `sources`, or `ids`. */
export function readSource(params) {
  if (params.ids) {
    const ids = params.ids.split(",").filter((id) => /^\d{1,18}$/.test(id));
    return { name: "ids", filters: {}, ids: [...new Set(ids)].slice(0, MAX_IDS).map(Number) };
  }
  if (sources().some(([name]) => name === params.by)) return withFilters(params.by, params);
  return withFilters(FILTERS.examples.some((name) => params[name]) ? "examples" : "doubt", params);
}

function withFilters(name, params) {
  const given = (FILTERS[name] ?? []).filter((filter) => params[filter]);
  return { name, filters: Object.fromEntries(given.map((filter) => [filter, params[filter]])), ids: null };
}

/** The parameters of the address of a source. */
export const sourceParams = ({ name, filters = {}, ids = null }) =>
  (ids ? { ids: ids.join(",") } : { by: name, ...filters });

export const isQueue = ({ name }) => ["doubt", "suspect", "unfamiliar"].includes(name);

/** Whether an item leaves the source once it is labelled. */
export const isEmptied = (source) => isQueue(source) || source.name === "predictions";

export function fromExample(example, why = null) {
  return {
    key: `example:${example.id}`, kind: "example", id: example.id, label: example.label, predicted: example.predicted,
    probability: example.label_probability, unfamiliar: example.unfamiliar, heldOut: example.held_out, excerpt: example.excerpt, why,
  };
}

export function fromPrediction(prediction, why = null) {
  return {
    key: `prediction:${prediction.id}`, kind: "prediction", id: prediction.id, label: null, predicted: prediction.label,
    confidence: prediction.confidence, unfamiliar: prediction.unfamiliar, version: prediction.version, excerpt: prediction.excerpt, why,
  };
}

/**
 * Reads a source page by page. `next()` answers `{items, isLast, waiting}`; a queue has one page, which
 * is other items each time.
 */
export function openSource(source) {
  let after = null;

  async function next() {
    if (source.ids) return nextOfIds();
    if (isQueue(source)) {
      const { items, waiting } = await api.queue(source.name, QUEUE);
      return { items: items.map(fromQueue), waiting, isLast: true };
    }
    return source.name === "examples" ? nextOfExamples() : nextOfPredictions();
  }

  async function nextOfPredictions() {
    const list = await api.predictions({ ...source.filters, limit: PAGE, after });
    after = list.next_after;
    return { items: list.predictions.map((each) => fromPrediction(each)), isLast: after === null };
  }

  /** What the model says is compared here: the API knows only whether it agrees with the label. */
  async function nextOfExamples() {
    const { predicted, ...filters } = source.filters;
    if (predicted && filters.class) filters.agrees = String(isSameClass(predicted, filters.class));
    let items = [];
    for (let k = 0; k < MAX_PAGES && !items.length; k += 1) {
      const list = await api.examples({ ...filters, limit: PAGE, after });
      after = list.next_after;
      items = list.examples.filter((each) => !predicted || (each.predicted && isSameClass(each.predicted, predicted)));
      if (after === null) break;
    }
    return { items: items.map((each) => fromExample(each)), isLast: after === null };
  }

  const fromQueue = ({ prediction, example, why }) =>
    prediction ? fromPrediction(prediction, why) : fromExample(example, why);

  /** Those of the map, which has all that a tile shows. */
  async function nextOfIds() {
    const map = await api.map();
    const places = new Map(map.ids.map((id, k) => [id, k]));
    const nameAt = (k) => map.names[k] ?? null;
    const items = source.ids.filter((id) => places.has(id)).map((id) => {
      const k = places.get(id);
      return fromExample({ id, label: nameAt(map.labels[k]), predicted: nameAt(map.predicted[k]), label_probability: null, unfamiliar: null, held_out: map.held_out[k] });
    });
    return { items, isLast: true };
  }

  return { next };
}
