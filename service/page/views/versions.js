// Versions: how accurate each was, why the gate let it pass or not, and which one is champion.

import * as api from "../api/versions.js";
import { interval } from "../components/charts/chart.js";
import { heading } from "../components/heading.js";
import { makeLoader } from "../components/load.js";
import { promote } from "../components/runs/promote.js";
import { makeRows } from "../components/rows.js";
import { measured, timeline } from "../components/charts/timeline.js";
import { el, put, say } from "../dom.js";
import { count, percent, when } from "../format.js";
import { counted } from "../inputs.js";
import { address, navigate } from "../router.js";
import { may } from "../session.js";
import { watch } from "../state.js";

export const title = "Versions";

const STEP = 30;

export function mount(root) {
  let limit = STEP;
  const ofChart = el("div", {});
  const list = el("ol", { id: "versions", class: "versions" });
  const problem = el("p", { id: "versions-problem", class: "problem", role: "alert", hidden: true });
  const older = el("button", { id: "versions-older", type: "button", class: "plain small", hidden: true, onclick: () => { limit += STEP; loader.load(); } }, "Show older");
  const rollBack = el("button", { id: "roll-back", type: "button", class: "plain", hidden: true }, "Roll back");
  const comparison = makeComparison();
  const report = (text) => say(problem, text);
  const showRows = makeRows(list, (version) => version.version, (version) => makeRow(version, report));
  const loader = makeLoader(() => api.versions(limit + 1), (all) => {
    const shown = all.slice(0, limit);
    older.hidden = all.length <= limit;
    put(ofChart, timeline(shown));
    showRows(shown);
    comparison.offer(shown);
    offerRollback(shown);
  });
  root.append(heading(title, may("admin") && rollBack),
    el("div", { class: "stack" },
      el("section", { class: "panel", "aria-label": "Accuracy by version" }, ofChart, may("label") && comparison.element),
      el("section", { class: "panel", "aria-label": "All versions" }, problem, loader.element, list, older)));

  async function offerRollback(shown) {
    const { previous } = may("admin") ? await api.champion().catch(() => ({ previous: null })) : { previous: null };
    const target = shown.find(({ version }) => version === previous);
    rollBack.hidden = !target;
    if (!target) return;
    rollBack.textContent = `Roll back to version ${previous}`;
    rollBack.onclick = () => promote(target, rollBack, report);
  }

  let seen = null;
  const stop = watch("status", (status) => {
    if (!status) return;
    // A new champion or an ended run may have changed the list.
    const newest = `${status.version} ${status.last_run?.id} ${status.last_run?.state} ${status.promotion_waiting}`;
    if (newest !== seen) loader.load();
    seen = newest;
  });
  return () => {
    stop();
    loader.stop();
  };
}

/** Two fields and a button: {element, offer(versions)}. */
function makeComparison() {
  const fields = ["Compare version", "with"].map((text, i) => {
    const select = el("select", { id: `compare-${i}` });
    return { select, label: el("label", { for: `compare-${i}` }, text) };
  });
  const element = el("form", { class: "row compare", hidden: true, onsubmit: (event) => {
    event.preventDefault();
    const [before, after] = fields.map(({ select }) => select.value);
    navigate(`versions/${before}/diff/${after}`);
  } }, fields.flatMap(({ label, select }) => [label, select]), el("button", { type: "submit", id: "compare", class: "plain" }, "Compare"));

  let offered = "";
  function offer(versions) {
    const numbers = versions.map(({ version }) => version);
    element.hidden = numbers.length < 2;
    if (offered === numbers.join()) return; // a choice must not be reset
    offered = numbers.join();
    const champion = versions.find((version) => version.is_champion);
    const after = champion?.version ?? numbers[0];
    const before = numbers.find((number) => number < after) ?? numbers.find((number) => number !== after);
    for (const [i, { select }] of fields.entries()) {
      put(select, numbers.map((number) => el("option", { value: number }, number === champion?.version ? `${number} (champion)` : String(number))));
      select.value = [before, after][i];
    }
  }

  return { element, offer };
}

function makeRow(version, report) {
  const number = version.version;
  const isHeldBack = version.gate.promote === false;
  const make = el("button", { type: "button", class: "plain small", onclick: () => promote(version, make, report) }, "Make it the champion");
  return el("li", { class: version.is_champion ? "version champion" : "version", "data-version": number },
    el("div", { class: "version-head" },
      el("h2", {}, `Version ${number}`),
      version.is_champion && el("span", { class: "badge good" }, "champion"),
      isHeldBack && el("span", { class: "badge warn" }, "held back"),
      version.retired_at && el("span", { class: "badge" }, "retired"),
      Object.keys(version.lost_files).length > 0 && el("span", { class: "badge bad", title: Object.entries(version.lost_files).map((entry) => entry.join(": ")).join("; ") }, "files lost"),
      el("span", { class: "quiet fine" }, when(version.created_at))),
    el("p", { class: "fine" }, describe(version)),
    isHeldBack && el("p", { class: "fine sentence" }, String(version.gate.reason ?? "")),
    el("div", { class: "version-more" }, why(version, isHeldBack), el("div", { class: "buttons" },
      may("admin") && !version.is_champion && !version.retired_at && make,
      may("label") && version.parent !== null && el("a", { class: "fine", href: address(`versions/${version.parent}/diff/${number}`) }, `Compare with version ${version.parent}`),
      may("train") && !version.retired_at && el("a", { href: api.modelOf(number), download: `evergreen-${number}.onnx`, class: "fine" }, "Download model.onnx"))));
}

function why({ gate, is_champion: isChampion }, isHeldBack) {
  const checks = gate.checks ?? [];
  return el("details", { class: "quiet fine", open: isChampion },
    el("summary", {}, isHeldBack ? "What the gate checked" : "Why"),
    !isHeldBack && el("p", { class: "sentence" }, String(gate.reason ?? "no reason is stored")),
    el("ul", { class: "checks" }, checks.map(({ name, passed, detail }) =>
      el("li", { class: passed ? "passed" : "failed" }, el("b", {}, name, passed ? "" : " (failed)"), `: ${detail}`))));
}

function describe(version) {
  const known = count(version.classes.length, "class", "classes");
  const figures = measured(version);
  if (!figures) return known;
  const { accuracy, num, by } = figures;
  return `${percent(accuracy)} right of ${counted(num)} (95 % interval ${interval(figures.interval)}; ${by}) · ${known}`;
}
