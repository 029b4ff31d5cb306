// The versions: accuracy, the gate's reason, and a button to promote each.

import * as api from "./api.js";
import { byId, count, el, percent, refreshTimes, say, when } from "./dom.js";
import * as live from "./live.js";
import { confirm } from "./toast.js";

const STEP = 6;
const PROMOTE = "Make it the champion";
const MINUTE_MS = 60_000;

let limit = STEP;
let seen = "";
let newestLoad = 0;
const rows = new Map();

export function startVersions() {
  byId("versions-older").addEventListener("click", () => {
    limit += 4 * STEP;
    load();
  });
  setInterval(refreshTimes, MINUTE_MS);
  live.watch((status) => {
    if (!status) return;
    // A new champion or an ended run may have changed the list.
    const key = `${status.version} ${status.last_run?.id} ${status.last_run?.state}`;
    if (key === seen) return;
    seen = key;
    load();
  });
}

async function load() {
  newestLoad += 1;
  const thisLoad = newestLoad;
  try {
    const loaded = await api.versions(limit + 1);
    if (thisLoad !== newestLoad) return; // responses may arrive out of order
    byId("versions-older").hidden = loaded.length <= limit;
    show(loaded.slice(0, limit));
  } catch {
    seen = ""; // the next poll tries again
  }
}

/** Replace only changed rows: a button must not be replaced under the pointer. */
function show(versions) {
  const list = byId("versions");
  const kept = new Map(rows);
  rows.clear();
  for (const [index, version] of versions.entries()) {
    const content = JSON.stringify(version);
    const old = kept.get(version.version);
    const row = old?.content === content ? old : { content, element: makeRow(version, index) };
    rows.set(version.version, row);
    if (list.children[index] === row.element) continue;
    if (old && old !== row) old.element.replaceWith(row.element);
    else list.insertBefore(row.element, list.children[index] ?? null);
  }
  while (list.children.length > versions.length) list.lastElementChild.remove();
}

function makeRow(version, index) {
  const number = version.version;
  const promoteButton = el("button", { type: "button", class: "plain small", onclick: () => promote(version, promoteButton) }, PROMOTE);
  return el("li", { class: version.is_champion ? "version champion" : "version", "data-version": number },
    el("div", { class: "version-head" },
      el("h3", {}, `Version ${number}`),
      version.is_champion && el("span", { class: "badge good" }, "champion"),
      version.gate.promote === false && el("span", { class: "badge" }, "held back"),
      el("span", { class: "quiet fine" }, when(version.created_at))),
    el("p", { class: "fine" }, describe(version)),
    el("details", { class: "quiet fine", open: index === 0 || version.is_champion }, el("summary", {}, "Why"), el("p", {}, String(version.gate.reason ?? "no reason is stored"))),
    el("div", { class: "buttons" },
      !version.is_champion && promoteButton,
      el("a", { href: `v1/versions/${number}/model.onnx`, download: `evergreen-${number}.onnx`, class: "fine" }, "model.onnx")));
}

function describe({ metrics, classes }) {
  const known = count(classes.length, "class", "classes");
  if (typeof metrics.accuracy !== "number") return known;
  return `${percent(metrics.accuracy)} right of ${count(metrics.num_judged, "photo")} (${metrics.judged_by}) · ${known}`;
}

async function promote(version, button) {
  if (button.ariaDisabled === "true") return;
  const number = version.version;
  const heldBack = version.gate.promote === false ? " The gate held it back." : "";
  const isSure = await confirm(`Make version ${number} the champion?`,
    `Version ${number} will make every prediction from now on, without a pause.${heldBack}`,
    `Use version ${number}`);
  if (!isSure) return;
  button.ariaDisabled = "true";
  button.textContent = "Promoting…";
  say(byId("versions-problem"), null);
  try {
    const { etag } = await api.champion();
    const answer = await api.promote(number, etag);
    if (!answer.isLive) say(byId("versions-problem"), `Version ${number} is still loading; it becomes champion on its own.`);
  } catch (problem) {
    say(byId("versions-problem"), problem.message);
  }
  button.ariaDisabled = "false";
  button.textContent = PROMOTE;
  seen = "";
  live.refresh();
}
