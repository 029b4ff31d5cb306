// Two versions beside each other: overall, by class, what each confuses, and what flipped.

import * as api from "../api/versions.js";
import { confusion } from "../components/charts/confusion.js";
import { heading, panel } from "../components/heading.js";
import { makeLoader } from "../components/load.js";
import { makeTable } from "../components/table.js";
import { thumb } from "../components/try/nearest.js";
import { el, put } from "../dom.js";
import { percent, points, whole } from "../format.js";
import { counted, titleWords, words } from "../inputs.js";
import { address } from "../router.js";

export const title = ({ a, b }) => `Version ${a} against ${b}`;
export const role = "label";

const FLIPS = 60;

export function mount(root, params) {
  const { a, b } = params;
  const content = el("div", { class: "stack" }, el("p", { class: "quiet" }, "Comparing…"));
  let limit = FLIPS;
  const loader = makeLoader(() => api.diff(a, b, limit), (diff) => put(content, show(diff, () => {
    limit = Math.min(1000, limit * 4);
    loader.load();
  })));
  root.append(
    heading(title(params),
      el("a", { class: "button plain small", href: address(`versions/${b}/diff/${a}`) }, "Swap"),
      el("a", { class: "button plain small", href: address("versions") }, "All versions")),
    loader.element, content);
  loader.load().then(() => { if (!loader.element.hidden) put(content); });
  return loader.stop;
}

function show(diff, showMore) {
  const { before, after, judged, overall, flips, flips_total: total } = diff;
  if (!judged) return [el("p", { class: "empty panel" }, diff.note ?? `There is no held-out ${words().one} to compare them on yet.`)];
  const mended = flips.filter((flip) => flip.mended).length;
  return [
    el("section", { class: "panel", "aria-label": "Overall" },
      el("div", { class: "versus" },
        figure(`Version ${before}`, percent(overall.before)),
        figure(`Version ${after}`, percent(overall.after)),
        figure("Change", `${points(overall.change)} points`, `95 % interval ${points(overall.interval[0])} to ${points(overall.interval[1])}`)),
      el("p", { class: "quiet fine" }, `On ${counted(judged, "held-out ")}. `, diff.note,
        !diff.note && diff.not_embedded > 0 && `${counted(diff.not_embedded)} could not be compared.`)),
    panel("By class", byClass(diff)),
    panel("What each confuses", el("div", { class: "two" },
      confusion(`Version ${before}`, { names: diff.confusion.names, matrix: diff.confusion.before }),
      confusion(`Version ${after}`, { names: diff.confusion.names, matrix: diff.confusion.after }))),
    panel(`${counted(total)} with another answer`,
      total === 0 ? el("p", { class: "quiet" }, `Both answer the same for every ${words().one}.`) : el("ul", { class: "thumbs flips" }, flips.map(flipped)),
      total > flips.length && el("div", { class: "buttons" },
        el("span", { class: "quiet fine" }, `${whole(flips.length)} shown, ${mended} of them mended`),
        flips.length < 1000 && el("button", { type: "button", class: "plain small", onclick: showMore }, "Show more"))),
  ];
}

const figure = (name, value, more) =>
  el("div", {}, el("p", { class: "quiet fine" }, name), el("p", { class: "large number" }, value), more && el("p", { class: "quiet fine" }, more));

function flipped({ example_id: id, excerpt, label, before, after, mended }) {
  const item = thumb({ id, excerpt }, label, `${before} → ${after}`);
  item.classList.add(mended ? "mended" : "broken");
  item.firstChild.append(el("span", { class: mended ? "badge good" : "badge bad" }, mended ? "mended" : "broken"));
  return item;
}

function byClass({ classes, before, after }) {
  const rows = Object.entries(classes).sort(([, one], [, other]) => one.change - other.change);
  return makeTable("By class", ["Class", titleWords().many, `Version ${before}`, `Version ${after}`, "Change"], rows.map(([name, pair]) => [
    el("a", { href: address("review", { by: "examples", class: name }) }, name),
    whole(pair.judged),
    percent(pair.before),
    percent(pair.after),
    { class: pair.change > 0 ? "up" : pair.change < 0 ? "down" : "", content: points(pair.change) },
  ]));
}
