// How many examples each class has, to train on and held out.

import { el, fill } from "../../dom.js";
import { count, whole } from "../../format.js";
import { address } from "../../router.js";

const MOST = 40;
const UNEVEN = 3;

/** `classes`: [{name, examples, held_out}], where `held_out` of the examples are held out. */
export function balance(classes) {
  if (!classes.length) return [el("p", { class: "quiet" }, "Nothing is labelled yet.")];
  const sorted = [...classes].sort((one, other) => other.examples - one.examples || one.name.localeCompare(other.name));
  const most = Math.max(1, sorted[0].examples);
  const least = sorted.at(-1).examples;
  const ratio = least ? most / least : Infinity;
  return [
    el("p", { class: "quiet fine" }, ratio < UNEVEN
      ? `${count(sorted.length, "class", "classes")}, evenly labelled.`
      : `${sorted[0].name} has ${least ? `${Math.round(ratio)} times as many labels as` : "labels, and none has"} ${sorted.at(-1).name}.`),
    el("p", { class: "chart-legend" }, el("span", {}, "to train on"), el("span", { class: "of-held-out" }, "held out to evaluate")),
    el("ul", { class: "tally" }, sorted.slice(0, MOST).map(({ name, examples, held_out: heldOut }) => {
      const parts = el("span", { class: "bar parts", "aria-hidden": "true" }, el("span", {}), el("span", {}));
      fill(parts, (examples - heldOut) / most);
      fill(parts, heldOut / most, "--second-fill");
      return el("li", {}, el("a", { class: "name", href: address("review", { by: "examples", class: name }) }, name), parts,
        el("span", { class: "number", title: `${whole(examples - heldOut)} to train on, ${whole(heldOut)} held out` }, whole(examples)));
    })),
    sorted.length > MOST && el("p", { class: "quiet fine" }, `and ${count(sorted.length - MOST, "more class", "more classes")}`),
  ];
}
