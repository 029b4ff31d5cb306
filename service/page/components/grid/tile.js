// An item of the grid: its label or the model's answer, and its marks.

import { el, put } from "../../dom.js";
import { percent } from "../../format.js";
import { kind } from "../../inputs.js";

/** What is shown and said of an item: two lines and marks. */
export function describe(item) {
  const marks = [item.heldOut && "held out", item.unfamiliar && "unfamiliar"].filter(Boolean);
  if (item.problem) return { title: item.given ?? item.label ?? item.predicted, detail: item.problem, marks: ["not stored"] };
  if (item.given) return { title: item.given, detail: item.isWaiting ? "waits for the server" : was(item), marks };
  if (item.kind === "prediction") return { title: `${item.predicted}?`, number: share(item.confidence), detail: item.why ?? `version ${item.version}`, marks };
  const differs = item.predicted && item.predicted !== item.label;
  const detail = differs ? `model: ${item.predicted}` : item.predicted ? "model agrees" : (item.why ?? "");
  return { title: item.label ?? "not labelled", number: share(item.probability), detail, differs, marks };
}

const share = (value) => (value === null || value === undefined ? null : percent(value));

function was({ kind, label, predicted, given }) {
  if (kind === "prediction") return given === predicted ? "model agrees" : `model: ${predicted}`;
  return given === label ? "label kept" : `was ${label ?? "not labelled"}`;
}

export function drawTile(node, item) {
  const { title, number, detail, differs, marks } = describe(item);
  const preview = node.querySelector(".preview") ?? kind().preview(item);
  node.classList.toggle("given", Boolean(item.given) && !item.problem);
  node.classList.toggle("failed", Boolean(item.problem));
  node.classList.toggle("skipped", Boolean(item.isSkipped) && !item.given);
  node.title = item.problem ?? "";
  put(node,
    el("div", { class: "shown" }, preview,
      marks.length > 0 && el("div", { class: "marks" }, ...marks.map((mark) => el("span", { class: "mark" }, mark))),
      el("span", { class: "check" })),
    el("div", { class: "caption" },
      el("div", { class: "title" }, el("b", {}, title), number && el("span", { class: "number" }, number)),
      el("div", { class: differs ? "detail differs" : "detail" }, detail)));
}

export function nameTile(item) {
  const { title, number, detail, marks } = describe(item);
  return [item.excerpt, number ? `${title} ${number}` : title, detail, ...marks].filter(Boolean).join(", ");
}
