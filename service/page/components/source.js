// Where the photos of the grid come from: a queue, the examples, the predictions, or ids that the map
// chose. The address holds all of it, so that a view can be shared and reloaded.

import * as api from "../api/review.js";

export const SOURCES = [
  ["doubt", "Most doubtful", "Predictions whose labels would teach the most."],
  ["suspect", "Suspect labels", "Labels that the model, trained without them, does not believe."],
  ["unfamiliar", "Unfamiliar", "Photos unlike everything labelled."],
  ["predictions", "All predictions", "Predictions whose photos are still kept, the newest first."],
  ["examples", "All labelled", "Every photo with a label."],
];

// The filters that each list of the API takes.
const FILTERS = {
  examples: ["class", "held_out", "source", "since", "until", "agrees", "suspected", "unfamiliar", "predicted", "sort"],
  predictions: ["label", "version", "unfamiliar", "since", "until"],
};
const PAGE = 200;
const QUEUE = 100;
export const MAX_IDS = 500;

/** Read the parameters of the address: `{name, filters, ids}`; `name` is of SOURCES, or `ids`. */
export function readSource(params) {
  if (params.ids) {
    const ids = params.ids.split(",").filter((id) => /^\d{1,18}$/.test(id));
    return { name: "ids", filters: {}, ids: [...new Set(ids)].slice(0, MAX_IDS).map(Number) };
  }
  if (SOURCES.some(([name]) => name === params.by)) return withFilters(params.by, params);
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

/** Whether a photo leaves the source once it is labelled. */
export const isEmptied = (source) => isQueue(source) || source.name === "predictions";

export function fromExample(example, why = null, isSuspect = false) {
  return {
    key: `example:${example.id}`, kind: "example", id: example.id, label: example.label, predicted: example.predicted,
    probability: example.label_probability, unfamiliar: example.unfamiliar, heldOut: example.held_out, isSuspect, why,
  };
}

export function fromPrediction(prediction, why = null) {
  return {
    key: `prediction:${prediction.id}`, kind: "prediction", id: prediction.id, label: null, predicted: prediction.label,
    confidence: prediction.confidence, unfamiliar: prediction.unfamiliar, version: prediction.version, why,
  };
}

/**
 * Reads a source page by page. `next()` answers `{items, isLast, waiting}`; a queue has one page, which
 * is other photos each time.
 */
export function openSource(source) {
  let after = null;
  const rest = source.ids ? [...source.ids] : null;

  async function next() {
    if (rest) return nextOfIds();
    if (isQueue(source)) {
      const { items, waiting } = await api.queue(source.name, QUEUE);
      return { items: items.map(fromQueue), waiting, isLast: true };
    }
    const list = await api[source.name]({ ...source.filters, limit: PAGE, after });
    after = list.next_after;
    const items = source.name === "examples" ? list.examples.map((each) => fromExample(each)) : list.predictions.map((each) => fromPrediction(each));
    return { items, isLast: after === null };
  }

  const fromQueue = ({ prediction, example, why }) =>
    prediction ? fromPrediction(prediction, why) : fromExample(example, why, source.name === "suspect");

  async function nextOfIds() {
    const ids = rest.splice(0, PAGE);
    if (!ids.length) return { items: [], isLast: true };
    const list = await api.examples({ ids: ids.join(","), limit: PAGE });
    return { items: list.examples.map((each) => fromExample(each)), isLast: !rest.length };
  }

  return { next };
}
