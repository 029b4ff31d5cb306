// One labelled photo or text: who labelled it when, which versions learned from it, and what it is near to.

import * as api from "../api/examples.js";
import { heading, panel } from "../components/heading.js";
import { makeLoader, throttle } from "../components/load.js";
import { announce } from "../components/toast.js";
import { loadNearest } from "../components/try/nearest.js";
import { el, put, say } from "../dom.js";
import { NONE_OF_THESE, when } from "../format.js";
import { kind, titleWords } from "../inputs.js";
import * as outbox from "../outbox.js";
import { address } from "../router.js";
import { subscribe } from "../state.js";

export const title = ({ id }) => `${titleWords().one} ${id}`;
export const role = "label";

const MOST_VERSIONS = 12;

export function mount(root, { id }) {
  const content = el("div", { class: "with-side" }, el("p", { class: "quiet" }, "Loading…"));
  const shown = kind().whole({ kind: "example", id }, title({ id }));
  const nearest = el("div", { class: "nearest", hidden: true });
  const frame = el("div", { class: "stack" }, el("div", { class: "panel" }, shown), el("div", { class: "panel plain" }, nearest));
  const loader = makeLoader(() => api.example(id), (example) => {
    put(content, frame, el("div", { class: "stack" }, describe(example, loader.load)));
  });
  root.append(heading(title({ id }), el("a", { class: "button plain small", href: address("review") }, "Review")), loader.element, content);
  loader.load().then(() => {
    if (!frame.isConnected) put(content); // the problem says why
    else loadNearest(nearest, { example: id });
  });
  const again = throttle(loader.load);
  const stop = subscribe("newestLabel", again);
  return () => {
    stop();
    again.stop();
    loader.stop();
  };
}

function describe(example, reload) {
  const shown = example.versions.slice(0, MOST_VERSIONS);
  return [
    panel("Label", el("p", { class: "large" }, example.label ?? "no label"),
      el("p", { class: "quiet fine" }, example.is_held_out ? "Held out: it evaluates versions, and none is trained on it." : "To train on.",
        ` ${kind().sizeOf(example)}, from ${example.source}, `, when(example.created_at)),
      relabelling(example, reload)),
    panel("Who said so", el("ol", { class: "history" }, [...example.labels].reverse().map((event) => el("li", {},
      el("b", {}, event.label ?? "taken back"), ` by ${event.who}`, event.prediction_id && ", of a prediction", " ",
      el("span", { class: "quiet fine" }, when(event.created_at)))))),
    panel("Versions that saw it", shown.length === 0
      ? el("p", { class: "quiet" }, "None yet.")
      : el("ul", { class: "history" }, shown.map(({ version, label }) => el("li", {}, `Version ${version} `, el("span", { class: "quiet" }, label ?? "")))),
      example.versions.length > shown.length && el("p", { class: "quiet fine" }, `and ${example.versions.length - shown.length} earlier`)),
  ];
}

function relabelling(example, reload) {
  const input = el("input", { type: "text", id: "relabel", list: "classes", maxlength: 100, autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-label": "Another label", placeholder: "another label…" });
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const give = async (label) => {
    say(problem, null);
    try {
      const stored = await outbox.give({ example_id: example.id, label });
      announce(`${stored.label} is stored`);
      reload();
    } catch (error) {
      say(problem, error.message);
    }
  };
  return el("div", { class: "stack tight" },
    el("form", { class: "row", onsubmit: (event) => {
      event.preventDefault();
      if (input.value.trim()) give(input.value.trim());
    } }, input, el("button", { type: "submit", class: "plain" }, "Save")),
    example.label !== NONE_OF_THESE && el("button", { type: "button", class: "plain small", onclick: () => give(NONE_OF_THESE) }, "None of these"),
    problem);
}
