// Import: choose or drop a file, follow it, and read what became of what is in it.

import * as api from "../../api/imports.js";
import { el, fill, put } from "../../dom.js";
import { count, when, whole } from "../../format.js";
import { kind } from "../../inputs.js";
import { takeBack } from "../../outbox.js";
import { subscribe } from "../../state.js";
import { progressBar } from "../bar.js";
import { acceptFiles } from "../files.js";
import { toast } from "../toast.js";
import { takeHanded } from "./handed.js";

const SHOWN = 5; // imports listed
const EVERY_MS = 1000; // how often a running one is read, in case the stream misses it
const MAX_PROBLEMS = 200;

const isOver = ({ state }) => !["waiting", "running"].includes(state);

/** Returns `{element, load(), close()}`; `onEnd()` is called when an import has ended. */
export function makeImport(onEnd) {
  const { about, choose, accept, unit, prepare } = kind().imports;
  const input = el("input", { class: "unseen", type: "file", id: "import-file", accept });
  const zone = el("label", { class: "drop small", id: "import-drop" }, input,
    el("strong", {}, choose), el("span", { class: "quiet with-mouse" }, "or drop it here"));
  const sending = el("div", { class: "import", hidden: true });
  const list = el("div", { class: "imports" });
  const element = el("div", { class: "stack" },
    el("p", { class: "quiet" }, about),
    zone, sending, list);
  const known = new Map(); // id to {state, node}
  let timer = 0;

  acceptFiles(zone, input, ([file]) => send(file));

  async function send(file) {
    const parameters = await prepare(file);
    if (parameters === null) return;
    const progress = progressBar(`${file.name} is being sent`);
    const stop = new AbortController();
    sending.hidden = false;
    put(sending, el("div", { class: "import-head" }, el("b", {}, file.name), el("span", { class: "quiet" }, "is being sent"),
      el("button", { type: "button", class: "plain small", onclick: () => stop.abort() }, "Cancel")), progress);
    try {
      show(await api.upload(file, parameters, (fraction) => fill(progress, fraction), stop.signal));
      sending.hidden = true;
    } catch (problem) {
      if (problem.code === "aborted") sending.hidden = true;
      else put(sending, el("p", { class: "problem", role: "alert" }, `${file.name}: ${problem.message}`));
    }
  }

  async function load() {
    const handed = takeHanded();
    if (handed) send(handed);
    try {
      for (const each of (await api.list(SHOWN)).reverse()) show(each);
    } catch (problem) {
      put(list, el("p", { class: "problem" }, problem.message));
    }
  }

  function show(state) {
    const before = known.get(state.id);
    const node = before?.node ?? el("section", { class: "import", "aria-label": `Import of ${state.name}` });
    known.set(state.id, { state, node });
    if (!before) {
      list.prepend(node);
      while (list.children.length > SHOWN) list.lastElementChild.remove();
    }
    if (!before || JSON.stringify(before.state) !== JSON.stringify(state)) draw(node, state);
    if (before && !isOver(before.state) && isOver(state)) onEnd();
    follow();
  }

  function follow() {
    clearTimeout(timer);
    const running = [...known.values()].filter(({ state }) => !isOver(state));
    if (!running.length) return;
    timer = setTimeout(async () => {
      for (const { state } of running) {
        const newest = await api.get(state.id).catch(() => null);
        if (newest) show(newest);
      }
      follow();
    }, EVERY_MS);
  }

  function draw(node, state) {
    const { id, name, position, total, counts, error, batch_id: batch } = state;
    // A report that is open stays so.
    const wasOpen = node.querySelector("details")?.open ?? false;
    const progress = progressBar(`Progress of ${name}`);
    fill(progress, total ? position / total : 0);
    put(node,
      el("div", { class: "import-head" }, el("b", {}, name), el("span", { class: "quiet" }, describe(state)),
        !isOver(state) && el("button", { type: "button", class: "plain small", onclick: () => cancel(id) }, "Cancel"),
        isOver(state) && batch && counts.added + counts.relabelled > 0 && !state.isUndone &&
          el("button", { type: "button", class: "link", onclick: () => undo(state) }, "Undo")),
      !isOver(state) && progress,
      error && el("p", { class: "problem" }, error),
      el("p", { class: "counts" }, Object.entries(counts).filter(([, num]) => num > 0).map(([what, num]) => el("span", {}, el("b", {}, whole(num)), ` ${what}`))),
      report(state, wasOpen));
  }

  function describe({ state, position, total, finished_at: ended, isUndone }) {
    if (isUndone) return "undone";
    if (state === "waiting") return "waits";
    if (state === "running") return total ? `${whole(position)} of ${whole(total)}` : "is being read";
    return [state, ended && " ", ended && when(ended).textContent].filter(Boolean).join("");
  }

  function report({ problems, problems_total: num }, isOpen) {
    if (!num) return null;
    return el("details", { open: isOpen },
      el("summary", {}, `${count(num, unit)} with a remark`),
      el("ul", { class: "problems" }, problems.slice(0, MAX_PROBLEMS).map(({ file, what }) => el("li", {}, el("b", {}, file), ` ${what}`)),
        num > Math.min(problems.length, MAX_PROBLEMS) && el("li", { class: "quiet" }, `and ${whole(num - Math.min(problems.length, MAX_PROBLEMS))} more`)));
  }

  async function cancel(id) {
    try {
      await api.cancel(id);
      show(await api.get(id));
    } catch (problem) {
      toast(problem.message, { isBad: true });
    }
  }

  async function undo(state) {
    try {
      await takeBack({ batch_id: state.batch_id });
      show({ ...state, isUndone: true });
      onEnd();
    } catch (problem) {
      toast(`Not undone: ${problem.message}`, { isBad: true });
    }
  }

  const stop = subscribe("newestImport", (state) => {
    // The stream may tell of it in short.
    if (state?.counts) show(state);
  });

  return {
    element, load,
    close() {
      clearTimeout(timer);
      stop();
    },
  };
}
