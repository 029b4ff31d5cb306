// The accuracy of each version with its interval, as a time line.

import { el } from "../../dom.js";
import { percent } from "../../format.js";
import { address } from "../../router.js";
import { may } from "../../session.js";
import { interval, makeChart, wilson } from "./chart.js";

export const isJudged = ({ metrics }) => typeof metrics.accuracy === "number" && metrics.num_judged > 0;

/** What a version measured, with the 95 % interval; null if nothing was judged. */
export function measured(version) {
  if (!isJudged(version)) return null;
  const { accuracy, num_judged: num, judged_by: by } = version.metrics;
  return { accuracy, num, by, interval: wilson(accuracy, num) };
}

/** `versions` in any order; a chart needs two that were judged, else null. */
export function timeline(versions) {
  const judged = versions.filter(isJudged).sort((one, other) => one.version - other.version);
  if (judged.length < 2) return null;
  const points = judged.map((version) => {
    const { accuracy, num, by, interval: [low, high] } = measured(version);
    const state = kindOf(version);
    return {
      x: version.version, y: accuracy, low, high, kind: state.replace(" ", "-"),
      text: `Version ${version.version}${state && `, ${state}`}: ${percent(accuracy)} right of ${num} (${by})`,
      href: version.parent === null || !may("label") ? null : address(`versions/${version.parent}/diff/${version.version}`),
    };
  });
  const newest = points.at(-1);
  return el("div", { class: "stack" },
    makeChart({
      name: "Accuracy by version", summary: newest.text,
      series: [{ kind: "of-versions", points }],
      x: { name: "version", format: String },
      columns: ["Version", "", "Accuracy", "95 % interval", "Judged"],
      rows: judged.map((version) => {
        const { accuracy, num, by, interval: of } = measured(version);
        return [version.version, kindOf(version), percent(accuracy), interval(of), `${num} (${by})`];
      }).reverse(),
    }),
    el("p", { class: "chart-legend" }, el("span", {}, "promoted"), el("span", { class: "of-held-back" }, "held back"), el("span", { class: "of-champion" }, "champion")));
}

const kindOf = ({ is_champion: isChampion, gate }) => (isChampion ? "champion" : gate.promote === false ? "held back" : "");
