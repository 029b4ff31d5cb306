// The state of the installation, runs and what they measured.

import { asJson, read, send } from "./http.js";

export const status = () => read("v1/status");

export const runs = async (limit = 20) => (await read("v1/runs", { limit })).runs;

/** `tier` head takes seconds; blocks takes `minutes`. */
export const retrain = async (tier = "head", minutes = null) =>
  (await send("POST", "v1/retrain", asJson(minutes ? { tier, minutes } : { tier }))).answer;

export const cancelRun = async (id) => (await send("DELETE", `v1/runs/${id}`)).answer;

export const learningCurve = () => read("v1/learning-curve");

/** Counts, accuracy and the last label of each class. */
export const classes = () => read("v1/classes");
