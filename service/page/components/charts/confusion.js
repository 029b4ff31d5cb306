// A confusion matrix: what the labels say, by row, and what the version says, by column. Each cell
// leads to its examples.

import { el, fill } from "../../dom.js";
import { count, whole } from "../../format.js";
import { counted } from "../../inputs.js";
import { address } from "../../router.js";
import { frame } from "../table.js";

const MOST = 20;
const OTHER = "(other)";

/** `names` and the square `matrix`; `title` says of which version. */
export function confusion(title, { names, matrix }) {
  const kept = worst(names, matrix);
  const total = matrix.map((row) => row.reduce((sum, number) => sum + number, 0));
  return el("div", { class: "stack tight" },
    el("h3", {}, title),
    kept.length < names.filter((name) => name !== OTHER).length && el("p", { class: "quiet fine" }, `The ${kept.length} of ${count(names.length, "class", "classes")} with the most mistakes.`),
    frame(`${title}, confusion`,
      el("table", { class: "confusion" },
        el("caption", { class: "unseen" }, `${title}: labels by row, predictions by column`),
        el("thead", {}, el("tr", {}, el("td", { class: "corner" }, el("span", {}, "predicted →"), el("span", {}, "label ↓")),
          kept.map((k) => el("th", { scope: "col", title: names[k] }, names[k])))),
        el("tbody", {}, kept.map((row) => el("tr", {},
          el("th", { scope: "row", title: names[row] }, names[row]),
          kept.map((column) => cell(names[row], names[column], matrix[row][column], total[row], row === column))))))));
}

function cell(label, predicted, number, total, isRight) {
  const node = el("td", { class: isRight ? "right" : number ? "wrong" : "none" },
    number === 0 ? el("span", { "aria-label": "none" }, "·")
      : predicted === OTHER || label === OTHER ? whole(number)
        : el("a", { href: address("review", { by: "examples", class: label, predicted }), "aria-label": `${counted(number)} of ${label}, predicted as ${predicted}` }, whole(number)));
  fill(node, total ? number / total : 0);
  return node;
}

/** The classes with the most mistakes, as rows or columns, in the order of the names. The bucket of
 * the others is one only if something is in it. */
function worst(names, matrix) {
  const mistakes = matrix.map((row, k) => row.reduce((sum, number, j) => sum + (j === k ? 0 : number + matrix[j][k]), 0));
  const used = matrix.map((_, k) => k).filter((k) => names[k] !== OTHER || mistakes[k] + matrix[k][k] > 0);
  const order = used.sort((one, other) => mistakes[other] - mistakes[one] || one - other);
  return order.slice(0, MOST).sort((one, other) => one - other);
}
