// Review: photos or texts to label, many at once, by keyboard, pointer or finger.

import { allNames, loadClasses } from "../components/review/class_keys.js";
import { makeFilters } from "../components/review/filters.js";
import { makeGrid } from "../components/grid/grid.js";
import { heading } from "../components/heading.js";
import { makeLabelBar } from "../components/review/label_bar.js";
import { makeActions } from "../components/review/review_actions.js";
import { makeSizes } from "../components/review/sizes.js";
import { canUndo, hearSitting } from "../components/review/sitting.js";
import { makeSittingBar } from "../components/review/sitting_bar.js";
import { isEmptied, isQueue, openSource, readSource } from "../components/review/source.js";
import { announce } from "../components/toast.js";
import { drawTile, nameTile } from "../components/grid/tile.js";
import { makeWorklist } from "../components/review/worklist.js";
import { el, put } from "../dom.js";
import { counted, kind, titleWords, words } from "../inputs.js";
import { subscribe } from "../state.js";

export const title = "Review";
export const role = "label";

const LOW = 40; // items left in the grid when the queue is asked for more
const LOOK_AGAIN_MS = 5000; // a queue that was empty may have filled

export function mount(root, params) {
  let source = null;
  let reader = null;
  let list = null;
  let isLoading = false;
  let isLast = false;
  let hasLoaded = false;
  let problem = null;
  let lookedAt = 0;
  let again = 0;

  const filters = makeFilters();
  const bar = makeSittingBar();
  const message = el("div", { class: "empty", role: "status", hidden: true });
  const grid = makeGrid({
    label: `${titleWords().many} to label`, drawTile, nameTile, ...kind().list,
    onSelect: refreshBars,
    onNearEnd: () => { if (hasLoaded && !isLast && !problem) load(); },
    onSwipe: (key, way) => actions.swiped(key, way),
    onOpen: () => actions.act({ name: "open" }),
  });
  const actions = makeActions({ grid, list: () => list, changed: refreshBars });
  const labelBar = makeLabelBar((action) => {
    actions.act(action);
    grid.element.focus({ preventScroll: true });
  });
  const sizes = makeSizes(grid.setSize);

  root.append(
    heading(title, filters.tabs, sizes),
    el("div", { class: "review-line" }, filters.about, bar.element), filters.choices,
    message, grid.element, labelBar.element);
  root.classList.add("review");
  document.addEventListener("keydown", actions.onKey);

  function refreshBars() {
    labelBar.refresh({
      numSelected: grid.selection.size, numShown: grid.items.length, canUndo: canUndo(),
      hasLabels: grid.items.some(({ label }) => label),
    });
  }

  function update(given) {
    source = readSource(given);
    list = makeWorklist({ empties: isEmptied(source), onChange: show });
    reader = openSource(source);
    isLast = false;
    isLoading = false;
    hasLoaded = false;
    problem = null;
    filters.show(source, allNames());
    show();
    load();
  }

  /** Read the next ones, or the queue again. */
  async function load() {
    if (isLoading) return;
    isLoading = true;
    const [from, into] = [reader, list];
    try {
      const answer = await from.next();
      if (into !== list) return;
      // What was skipped in a queue comes again; only others count as more.
      const added = into.add(answer.items);
      lookedAt = Date.now();
      isLast = answer.isLast && (!isQueue(source) || added === 0);
      problem = null;
    } catch (caught) {
      if (into !== list) return;
      problem = caught;
    }
    isLoading = false;
    const isFirst = !hasLoaded;
    hasLoaded = true;
    show();
    if (isFirst) announce(grid.items.length ? counted(grid.items.length) : "Nothing to show");
  }

  function show(restored = []) {
    const { shown } = list;
    grid.setItems(shown);
    if (restored.length) {
      grid.selection.move(grid.selection.indexOf(restored[0]));
      grid.reveal();
      grid.changed();
    }
    grid.element.hidden = shown.length === 0;
    showMessage(shown.length === 0 ? describeEmpty() : null);
    refreshBars();
    if (!hasLoaded || problem || !isQueue(source)) return;
    if (!isLast && shown.length < LOW) load();
    else if (!shown.length) {
      clearTimeout(again); // it fills without a word, after an analysis for one
      again = setTimeout(refill, LOOK_AGAIN_MS);
    }
  }

  function showMessage(content) {
    message.hidden = content === null;
    put(message, content);
  }

  function describeEmpty() {
    if (problem) {
      const again = el("button", { type: "button", class: "plain", onclick: load }, "Try again");
      return [el("p", { class: "problem" }, problem.message), again];
    }
    if (!hasLoaded || isLoading) return [el("p", { class: "quiet" }, `Reading the ${words().many}…`)];
    return filters.nothing(source);
  }

  /** A new version is live: it has other doubts. What is on the screen stays where it is. */
  async function renew() {
    if (!isQueue(source) || !hasLoaded) return;
    const into = list;
    const answer = await reader.next().catch(() => null);
    if (answer === null || into !== list) return;
    const keys = [...grid.selection.selected(), grid.selection.focusKey].filter(Boolean);
    isLast = false;
    into.refresh(answer.items, grid.element.hidden ? 0 : grid.lastShown(), keys);
    announce("The queue is new below what is shown");
  }

  /** Labels given here, or a change at the server: a queue may have more. */
  function refill() {
    if (!isQueue(source) || !hasLoaded || list.shown.length >= LOW || problem) return;
    clearTimeout(again);
    const wait = lookedAt + (list.shown.length ? LOOK_AGAIN_MS : LOOK_AGAIN_MS / 5) - Date.now();
    if (wait > 0) {
      again = setTimeout(refill, wait);
      return;
    }
    lookedAt = Date.now();
    isLast = false;
    load();
  }

  let version = null;
  const stops = [
    subscribe("status", (status) => {
      if (!status) return;
      if (version !== null && status.version !== version) renew();
      else refill();
      version = status.version;
    }),
    subscribe("connection", (connection) => { if (connection === "live" && problem) load(); }),
    hearSitting(() => {
      refreshBars();
      refill();
    }),
  ];
  loadClasses().catch(() => null).then(() => {
    filters.show(source, allNames());
    refreshBars();
  });
  update(params);

  return {
    update,
    unmount() {
      clearTimeout(again);
      for (const stop of stops) stop();
      document.removeEventListener("keydown", actions.onKey);
      root.classList.remove("review");
      bar.close();
      grid.close();
    },
  };
}
