// Charts of shares (0 to 1) against a number, as SVG in the width that there is.
//
// The same figures stand in a table below, for those who do not see the chart.

import { el, put, svg } from "../../dom.js";
import { percent } from "../../format.js";
import { makeTable } from "../table.js";

const HEIGHT = 220;
const MARGIN = { left: 44, right: 26, top: 12, bottom: 40 };
const POINT = 4;

/** A vertical axis of numbers from 0, such as losses. */
export const numbers = {
  range: (points) => [0, 1.05 * Math.max(...points.map((p) => p.y), 0.01)],
  ticks: (low, high) => [0, high / 4, high / 2, (3 * high) / 4],
  format: (value) => value.toFixed(2),
};
const shares = { range: verticalRange, ticks: verticalTicks, format: (share) => `${Math.round(100 * share)} %` };

/** `series`: [{kind: "measured" | "forecast", points: [{x, y, low, high, text, href, kind}]}], each
 * sorted by x; without `low`, a point has no
 * interval, and without `text` only the line goes through it. `y`: the vertical axis, of shares unless it is given. `x`: {name, format, ticks}. `columns`: the
 * heads of the table, whose rows are `rows`. */
export function makeChart({ name, summary, series, x, y = shares, columns, rows }) {
  const frame = el("div", { class: "chart-frame" });
  const draw = () => {
    const width = Math.max(240, Math.round(frame.clientWidth));
    if (frame.clientWidth && frame.dataset.width !== String(width)) {
      frame.dataset.width = width;
      put(frame, drawing({ name, summary, series, x, y, width }));
    }
  };
  new ResizeObserver(draw).observe(frame); // it ends with the element
  return el("figure", { class: "chart" }, frame,
    el("details", { class: "fine" }, el("summary", {}, "The figures"),
      makeTable(`The figures: ${name}`, columns, rows)));
}

function drawing({ name, summary, series, x, y, width }) {
  const all = series.flatMap(({ points }) => points);
  const [low, high] = y.range(all);
  const [first, last] = [Math.min(...all.map((p) => p.x)), Math.max(...all.map((p) => p.x))];
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const atX = (value) => round(MARGIN.left + (last > first ? (value - first) / (last - first) : 0.5) * inner.width);
  const atY = (share) => round(MARGIN.top + (1 - (share - low) / (high - low)) * inner.height);
  return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "group", "aria-label": `${name}. ${summary}` },
    y.ticks(low, high).map((share) => svg("g", { class: "grid-line", "aria-hidden": "true" },
      svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: atY(share), y2: atY(share) }),
      svg("text", { x: MARGIN.left - 7, y: atY(share) + 4, "text-anchor": "end" }, y.format(share)))),
    horizontalTicks(all, x, inner.width).map((value) => svg("text", { class: "tick", x: atX(value), y: HEIGHT - MARGIN.bottom + 17, "text-anchor": "middle", "aria-hidden": "true" }, x.format(value))),
    svg("text", { class: "axis", x: width - MARGIN.right, y: HEIGHT - 5, "text-anchor": "end", "aria-hidden": "true" }, x.name),
    series.map(({ kind, points }) => svg("g", { class: `series ${kind}` }, line(points, atX, atY), points.filter(({ text }) => text).map((point) => mark(point, atX, atY)))));
}

function line(points, atX, atY) {
  const path = (at) => points.map((p, i) => `${i ? "L" : "M"}${atX(p.x)} ${atY(at(p))}`).join("");
  const hasBand = points.length > 1 && points.every((p) => typeof p.low === "number");
  const back = [...points].reverse().map((p) => `L${atX(p.x)} ${atY(p.low)}`).join("");
  return [
    hasBand && svg("path", { class: "band", d: `${path((p) => p.high)}${back}Z`, "aria-hidden": "true" }),
    points.length > 1 && svg("path", { class: "line", d: path((p) => p.y), "aria-hidden": "true" }),
  ].filter(Boolean);
}

/** A point with its interval; a link if it leads somewhere. */
function mark(point, atX, atY) {
  const [cx, cy] = [atX(point.x), atY(point.y)];
  const hasInterval = typeof point.low === "number";
  const shapes = [
    hasInterval && svg("line", { class: "interval", x1: cx, x2: cx, y1: atY(point.high), y2: atY(point.low) }),
    svg("circle", { cx, cy, r: POINT }),
    svg("circle", { class: "reach", cx, cy, r: 12 }),
    svg("title", {}, point.text),
  ].filter(Boolean);
  const kind = `mark ${point.kind ?? ""}`.trim();
  if (!point.href) return svg("g", { class: kind, role: "img", "aria-label": point.text }, shapes);
  return svg("a", { class: kind, href: point.href, "aria-label": point.text }, shapes);
}

/** The intervals, with some room, in steps of a tenth. */
function verticalRange(points) {
  const low = Math.min(...points.map((p) => p.low ?? p.y));
  const high = Math.max(...points.map((p) => p.high ?? p.y));
  const bottom = Math.max(0, Math.floor(10 * low - 0.2) / 10);
  return [bottom, Math.min(1, Math.max(bottom + 0.2, Math.ceil(10 * high) / 10))];
}

function verticalTicks(low, high) {
  const step = high - low > 0.5 ? 0.2 : high - low > 0.2 ? 0.1 : 0.05;
  const ticks = [];
  for (let share = high; share > low - 1e-9; share -= step) ticks.push(Math.max(0, share));
  return ticks;
}

/** Values of points, as many as fit beside each other. */
function horizontalTicks(points, { format }, width) {
  const values = [...new Set(points.map((p) => p.x))].sort((one, other) => one - other);
  const [first, last] = [values[0], values.at(-1)];
  const room = 12 + 8 * Math.max(...values.map((value) => format(value).length));
  const far = ((last - first || 1) * room) / width;
  const shown = [last];
  for (const value of values.reverse()) if (shown.at(-1) - value >= far) shown.push(value);
  return shown;
}

const round = (value) => Math.round(10 * value) / 10;

/** The 95 % interval of Wilson for a share of `num`: [low, high]. */
export function wilson(share, num) {
  const z = 1.96;
  const middle = (share + (z * z) / (2 * num)) / (1 + (z * z) / num);
  const half = (z / (1 + (z * z) / num)) * Math.sqrt((share * (1 - share)) / num + (z * z) / (4 * num * num));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

export const interval = ([low, high]) => `${percent(low)} to ${percent(high)}`;
