// The map: labelled items near one another look alike to the model. Drag around points to review
// them; the legend does the same by class for those who use the keyboard.

import * as api from "../../api/review.js";
import { el, put, setText } from "../../dom.js";
import { count } from "../../format.js";
import { counted, kind, words } from "../../inputs.js";
import { navigate } from "../../router.js";
import { get } from "../../state.js";
import { drawMap, lookOf, readColours } from "./map_drawing.js";
import { fitted, inside, nearest, readPoints, zoomed } from "./map_points.js";
import { MAX_IDS } from "../review/source.js";

const NEAR = 12; // pixels
const CLICK = 5; // pixels that a press may move
const ZOOM = 1.5;
const LOOK_AGAIN_MS = 5000; // an analysis follows a version after some seconds
const MAX_LOOKS = 24;
const MAX_CLASSES = 24; // in the legend; the list of classes has them all

/** Returns `{element, load(), close()}`. */
export function makeMap() {
  const canvas = el("canvas", { class: "map", role: "img" });
  const tip = el("figure", { class: "map-tip", "aria-hidden": "true", hidden: true });
  const legend = el("ul", { class: "map-legend" });
  const found = el("p", { class: "map-found", role: "status" });
  const open = el("button", { type: "button", class: "small", hidden: true, onclick: review }, "Review");
  const moves = el("button", { type: "button", class: "plain small", "aria-pressed": "false", title: `Drag to move the map instead of choosing ${words().many}`, onclick: toggleMoves }, "Move");
  const button = (text, name, work) => el("button", { type: "button", class: "plain small", "aria-label": name, title: name, onclick: work }, text);
  const tools = el("div", { class: "map-tools" }, found, open, moves,
    button("+", "Zoom in", () => zoomBy(ZOOM)), button("−", "Zoom out", () => zoomBy(1 / ZOOM)), button("Fit", "Show all of the map", fit));
  const stage = el("div", { class: "map-stage" }, canvas, tip);
  const body = el("div", { class: "map-body", hidden: true }, stage, legend);
  const empty = el("p", { class: "quiet" }, "Reading the map…");
  const element = el("div", {}, empty, tools, body);

  let points = null;
  let version = null;
  let timer = 0;
  let view = fitted(1, 1);
  let only = null;
  let chosen = [];
  let under = -1;
  let press = null; // {x, y, isMove, view}
  let line = [];
  let isMoving = false;
  let isWaiting = false;
  tools.hidden = true;

  const isShown = (i) => only === null || points.places[points.labels[i]] === only;

  /** Read the map of the live version, again until there is one. */
  async function load(looks = 0) {
    clearTimeout(timer);
    let answer;
    try {
      answer = await api.map();
    } catch (problem) {
      setText(empty, problem.message);
      return;
    }
    if (answer.version !== get("status")?.version && looks < MAX_LOOKS) timer = setTimeout(load, LOOK_AGAIN_MS, looks + 1);
    if (answer.version === version && points) return; // what is chosen stays
    version = answer.version;
    const isEmpty = !answer.ids.length;
    if (isEmpty) setText(empty, `The map is drawn after a run: it shows how the model sees the labelled ${words().many}.`);
    empty.hidden = !isEmpty;
    body.hidden = tools.hidden = isEmpty;
    if (isEmpty) return;
    points = readPoints(answer);
    only = null;
    choose([]);
    showLegend();
    canvas.setAttribute("aria-label", `Map of ${counted(points.length, "labelled ")} in ${count(points.order.length, "class", "classes")}; the list beside it opens each class`);
    resize();
  }

  function showLegend() {
    const shown = points.order.slice(0, MAX_CLASSES);
    put(legend, shown.map((k, place) => {
      const { colour, shape } = lookOf(place);
      const key = el("span", { class: `key ${shape}`, "aria-hidden": "true" });
      key.style.setProperty("--key", `var(--class-${colour})`);
      return el("li", {},
        el("button", { type: "button", class: "link", "aria-pressed": String(only === place), title: `Show only ${points.names[k]}`, onclick: () => show(place) }, key, el("span", {}, points.names[k])),
        el("a", { href: `#/review?${new URLSearchParams({ by: "examples", class: points.names[k] })}`, "aria-label": `Review ${points.names[k]}` }, String(points.counts[k])));
    }), points.order.length > shown.length && el("li", { class: "quiet" }, `and ${count(points.order.length - shown.length, "more class", "more classes")}`));
  }

  function show(place) {
    only = only === place ? null : place;
    showLegend();
    legend.children[place]?.querySelector("button").focus();
    choose([]);
  }

  function choose(indices) {
    chosen = indices;
    const most = chosen.length > MAX_IDS ? `; the first ${MAX_IDS} are reviewed` : "";
    setText(found, chosen.length ? `${counted(chosen.length)} chosen${most}` : `Drag around ${words().many} to choose them.`);
    open.hidden = !chosen.length;
    drawSoon();
  }

  function review() {
    navigate("review", { ids: chosen.slice(0, MAX_IDS).map((i) => points.ids[i]).join(",") });
  }

  function toggleMoves() {
    isMoving = !isMoving;
    moves.setAttribute("aria-pressed", String(isMoving));
    stage.classList.toggle("moving", isMoving);
  }

  function zoomBy(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const base = fitted(canvas.clientWidth, canvas.clientHeight).scale;
    view = zoomed(view, factor, x, y, base * 0.5, base * 60);
    drawSoon();
  }

  function fit() {
    view = fitted(canvas.clientWidth, canvas.clientHeight);
    drawSoon();
  }

  function resize() {
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !points) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    fit();
  }

  function drawSoon() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      if (points && canvas.isConnected) drawMap(canvas, points, { view, colours: readColours(canvas), only, chosen, under, line });
    });
  }

  const at = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [clientX - box.left, clientY - box.top];
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    event.preventDefault();
    const [x, y] = at(event);
    press = { x, y, view, isMove: isMoving || event.button === 1 || event.shiftKey };
    line = press.isMove ? [] : [[x, y]];
    canvas.setPointerCapture(event.pointerId);
    hover(-1);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!press) hover(nearest(points, view, x, y, NEAR, isShown), x, y);
    else if (press.isMove) view = { ...press.view, dx: press.view.dx + x - press.x, dy: press.view.dy + y - press.y };
    else line.push([x, y]);
    drawSoon();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!press) return;
    const [x, y] = at(event);
    const isClick = Math.hypot(x - press.x, y - press.y) < CLICK && line.length < 12;
    if (isClick) {
      const one = nearest(points, view, x, y, NEAR, isShown);
      choose(one < 0 ? [] : [one]);
    } else if (!press.isMove) choose(inside(points, view, line, isShown));
    press = null;
    line = [];
    drawSoon();
    if (chosen.length && !isClick) open.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointercancel", () => {
    press = null;
    line = [];
    drawSoon();
  });
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // the page scrolls; a pinch comes with ctrlKey
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 300), ...at(event));
  }, { passive: false });

  function hover(index, x, y) {
    if (index === under) return;
    under = index;
    tip.hidden = index < 0;
    drawSoon();
    if (index < 0) return;
    const { names, labels, predicted, ids } = points;
    const says = predicted[index] >= 0 && predicted[index] !== labels[index] ? `model: ${names[predicted[index]]}` : null;
    put(tip, kind().preview({ kind: "example", id: ids[index] }),
      el("figcaption", {}, el("b", {}, names[labels[index]]), says && el("span", { class: "quiet" }, says)));
    tip.style.setProperty("--x", `${x}px`);
    tip.style.setProperty("--y", `${y}px`);
    tip.classList.toggle("to-left", x > canvas.clientWidth - 180);
    tip.classList.toggle("to-top", y > canvas.clientHeight - 200);
  }

  const resized = new ResizeObserver(resize);
  resized.observe(canvas);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", drawSoon);

  return {
    element, load,
    close() {
      clearTimeout(timer);
      resized.disconnect();
      dark.removeEventListener("change", drawSoon);
    },
  };
}
