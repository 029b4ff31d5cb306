// The learning curve: accuracy against labels, what more labels are expected to give, and where.

import { el } from "../../dom.js";
import { percent, points as asPoints, whole } from "../../format.js";
import { address } from "../../router.js";
import { interval, makeChart } from "./chart.js";
import { makeTable } from "../table.js";

const MOST_CLASSES = 8;
const VERDICTS = { "worth it": "good", "levelling off": "warn", "too early": "" };

export function curve({ points, forecast, verdict, text, classes, version }) {
  const sentence = el("p", { class: "sentence" }, el("span", { class: `badge ${VERDICTS[verdict] ?? ""}` }, verdict), " ", text);
  if (!points.length) return [sentence];
  const at = ({ labels, accuracy, interval: [low, high] }) => ({ x: labels, y: accuracy, low, high, text: `${whole(labels)} labels: ${percent(accuracy)} right (${percent(low)} to ${percent(high)})` });
  const measured = points.map(at);
  // It begins where the measured line ends.
  const expected = forecast.length ? [{ ...measured.at(-1), text: null }, ...forecast.map(at)] : [];
  return [
    sentence,
    makeChart({
      name: "Learning curve", summary: text,
      series: [{ kind: "forecast", points: expected }, { kind: "measured", points: measured }],
      x: { name: "labels", format: whole },
      columns: ["Labels", "Accuracy", "95 % interval", ""],
      rows: [
        ...points.map((p) => [whole(p.labels), percent(p.accuracy), interval(p.interval), "measured"]),
        ...forecast.map((p) => [whole(p.labels), percent(p.accuracy), interval(p.interval), "forecast"]),
      ],
    }),
    classes.length > 0 && whereLabelsHelp(classes, version),
  ].filter(Boolean);
}

function whereLabelsHelp(classes, version) {
  return el("details", { class: "fine", open: true }, el("summary", {}, "Where labels help most"),
    makeTable("Where labels help most", ["Class", "Examples", "Accuracy", "Expected gain"],
      classes.slice(0, MOST_CLASSES).map(({ name, examples, accuracy, gain_expected: gain }) => [
        el("a", { href: address("review", { by: "examples", class: name }) }, name),
        whole(examples),
        accuracy === null ? "–" : percent(accuracy),
        typeof gain === "number" ? `${asPoints(gain)} points` : "–",
      ])),
    classes.length > MOST_CLASSES && el("p", { class: "quiet" }, `and ${classes.length - MOST_CLASSES} more, as measured with version ${version}`));
}
