// The classes: counts, accuracy, last label; rename, merge and delete, each undone as one.

import { classes as readClasses } from "../../api/learning.js";
import * as api from "../../api/review.js";
import { el, fill, put } from "../../dom.js";
import { count, isSameClass, percent, when, whole } from "../../format.js";
import { counted, words } from "../../inputs.js";
import { takeBack } from "../../outbox.js";
import { address } from "../../router.js";
import { may } from "../../session.js";
import { bar } from "../bar.js";
import { ask, confirm } from "../dialog.js";
import { pickClass } from "../review/picker.js";
import { toast } from "../toast.js";

const MAX_NAME = 100;

/** Returns `{element, load()}`; `onChange()` is called after each change. */
export function makeClassTable(onChange) {
  const rows = el("tbody");
  const table = el("table", { class: "classes" },
    el("thead", {}, el("tr", {},
      el("th", { scope: "col" }, "Class"), el("th", { scope: "col", class: "number" }, "To train on"), el("th", { scope: "col", class: "number" }, "Held out"),
      el("th", { scope: "col", class: "number" }, "Accuracy"), el("th", { scope: "col" }, "Last label"), el("th", { scope: "col" }, el("span", { class: "unseen" }, "Changes")))),
    rows);
  const frame = el("div", { class: "table-frame", hidden: true }, table);
  const message = el("p", { class: "quiet" }, "Reading the classes…");
  const element = el("div", {}, message, frame);
  let classes = [];
  let shown = "";

  async function load() {
    let answer;
    try {
      answer = await readClasses();
    } catch (problem) {
      say(problem.message);
      return;
    }
    if (JSON.stringify(answer) === shown) return;
    shown = JSON.stringify(answer);
    classes = answer.classes;
    const none = answer.none_of_these;
    frame.hidden = !classes.length && !none.examples;
    message.hidden = !frame.hidden;
    if (frame.hidden) say(`Nothing is labelled yet. Label ${words().many} in Review, or import a file below.`);
    const most = Math.max(1, ...classes.map(({ examples }) => examples));
    const focused = rows.contains(document.activeElement) ? document.activeElement.ariaLabel : null;
    put(rows, classes.map((each) => row(each, most)), none.examples > 0 && rowOfNone(none));
    if (focused) [...rows.querySelectorAll("button")].find((button) => button.ariaLabel === focused)?.focus();
  }

  function say(text) {
    shown = "";
    message.hidden = false;
    message.textContent = text;
  }

  function row({ name, examples, held_out: heldOut, accuracy, judged, last_label_at: last, in_champion: isKnown }, most) {
    const trained = examples - heldOut;
    const share = bar(examples / most, "share");
    fill(share, trained / most, "--trained");
    return el("tr", {},
      el("th", { scope: "row" }, el("a", { href: address("review", { by: "examples", class: name }) }, name), !isKnown && el("span", { class: "badge", title: "The live version does not know it yet" }, "new"), share),
      el("td", { class: "number", "data-name": "to train on" }, whole(trained)), el("td", { class: "number", "data-name": "held out" }, whole(heldOut)),
      el("td", { class: "number", "data-name": "accuracy", title: judged ? `of ${counted(judged, "held-out ")}` : `no held-out ${words().one} yet` }, accuracy === null ? "–" : percent(accuracy)),
      el("td", { "data-name": "last label" }, last ? when(last) : "–"),
      el("td", {}, may("train") && el("div", { class: "buttons" },
        action("Rename", name, () => rename(name)),
        action("Merge", name, () => merge(name)),
        action("Delete", name, () => remove(name, examples)))));
  }

  const rowOfNone = ({ name, examples }) => el("tr", { class: "no-class" },
    el("th", { scope: "row" }, el("a", { href: address("review", { by: "examples", class: name }) }, name), el("span", { class: "badge", title: "Kept out of training; tells what is unfamiliar" }, "no class")),
    el("td", { class: "number" }, whole(examples)), el("td", {}), el("td", {}), el("td", {}), el("td", {}));

  const action = (text, name, work) =>
    el("button", { type: "button", class: "link", "aria-label": `${text} ${name}`, onclick: work }, text);

  const others = (name) => classes.map((each) => each.name).filter((each) => each !== name);

  async function rename(from) {
    const to = await ask(`Rename ${from}`, "Every label of the class changes. Versions that exist keep the old name until the next run.", "New name", "Rename", { value: from, maxlength: MAX_NAME });
    if (!to || to === from) return;
    const existing = others(from).find((name) => isSameClass(name, to));
    if (existing && !(await confirm(`Merge ${from} into ${existing}?`, "A class of this name exists. Both become one.", "Merge"))) return;
    await change(() => (existing ? api.mergeClasses([from], existing) : api.renameClass(from, to)), (name) => `${from} is now ${name}`);
  }

  async function merge(from) {
    const names = others(from);
    if (!names.length) {
      toast("There is no other class to merge it with");
      return;
    }
    const to = await pickClass({ names, title: `Merge ${from} into which class?`, allowNew: false });
    if (to) await change(() => api.mergeClasses([from], to), (name) => `${from} is part of ${name} now`);
  }

  async function remove(name, num) {
    const text = `Its ${count(num, "label")} ${num === 1 ? "is" : "are"} taken back: the ${words().many} stay, without a label. The next version no longer answers it.`;
    if (await confirm(`Delete ${name}?`, text, "Delete")) await change(() => api.deleteClass(name), () => `${name} is deleted`);
  }

  async function change(work, describe) {
    try {
      const { batch_id: batch, changed, name } = await work();
      const undo = batch === null ? null : { text: "Undo", run: () => takeBackBatch(batch) };
      toast(`${describe(name)}: ${counted(changed)}`, { action: undo });
    } catch (problem) {
      toast(problem.message, { isBad: true });
    }
    onChange();
  }

  async function takeBackBatch(batch) {
    try {
      const { kept } = await takeBack({ batch_id: batch });
      toast(kept ? `Undone, but for ${counted(kept)} labelled since` : "Undone");
    } catch (problem) {
      toast(`Not undone: ${problem.message}`, { isBad: true });
    }
    onChange();
  }

  return { element, load };
}
