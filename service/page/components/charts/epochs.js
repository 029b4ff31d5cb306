// What each epoch of fine-tuning measured: accuracy and losses.

import { el } from "../../dom.js";
import { percent, whole } from "../../format.js";
import { words } from "../../inputs.js";
import { makeChart, numbers } from "./chart.js";

const loss = (value) => value.toFixed(3);

/** The curves of a run of blocks; nothing before its first epoch has ended. */
export function epochs({ parameters }) {
  const all = parameters?.epochs ?? [];
  if (!all.length) return [];
  const last = all.at(-1);
  const line = (kind, name, y, shown) => ({
    kind,
    points: all.map((each) => ({ x: each.epoch, y: y(each), text: `epoch ${each.epoch}: ${name} ${shown(y(each))}` })),
  });
  const x = { name: "epoch", format: whole };
  return [
    el("h3", {}, "Accuracy by epoch"),
    makeChart({
      name: "Accuracy by epoch", summary: `${percent(last.accuracy)} after epoch ${last.epoch}`, x,
      series: [line("measured", "accuracy", (each) => each.accuracy, percent)],
      columns: ["Epoch", "Accuracy", `Loss of the held-out ${words().many}`, "Loss in training"],
      rows: all.map((each) => [whole(each.epoch), percent(each.accuracy), loss(each.held_out), loss(each.training)]),
    }),
    el("h3", {}, "Loss by epoch"),
    el("p", { class: "quiet fine" }, `Of ${words().many} that choose the epoch, and dashed of those that train.`),
    makeChart({
      name: "Loss by epoch", summary: `${loss(last.held_out)} after epoch ${last.epoch}`, x, y: numbers,
      series: [line("measured", "loss", (each) => each.held_out, loss), line("forecast", "loss in training", (each) => each.training, loss)],
      columns: ["Epoch", `Loss of the held-out ${words().many}`, "Loss in training"],
      rows: all.map((each) => [whole(each.epoch), loss(each.held_out), loss(each.training)]),
    }),
  ];
}
