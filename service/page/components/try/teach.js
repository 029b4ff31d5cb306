// "Teach it": one label for many photos or texts.

import { el, fill, put, say } from "../../dom.js";
import { count } from "../../format.js";
import { counted, kind, titleWords } from "../../inputs.js";
import * as outbox from "../../outbox.js";
import { refresh as refreshStatus } from "../../stream.js";
import { progressBar } from "../bar.js";
import { announce } from "../toast.js";

/** The form. It keeps what was chosen while other views are shown. */
export function makeTeaching() {
  let isSending = false;

  const label = el("input", {
    id: "teach-label", type: "text", list: "classes", maxlength: 100, autocomplete: "off", autocapitalize: "off",
    spellcheck: "false", placeholder: `for example: ${kind().teaching.example}`, oninput: refresh,
  });
  const chooser = kind().teaching.makeChooser((isWhole) => {
    refresh();
    if (isWhole && !label.value.trim()) label.focus();
  });
  const button = el("button", { id: "teach-send", type: "submit" });
  const bar = progressBar(`${titleWords().many} stored`, { id: "teach-bar", hidden: true });
  const result = el("p", { id: "teach-result", class: "fine", hidden: true });
  const problems = el("ul", { id: "teach-problems", class: "problems", hidden: true });
  const form = el("form", { id: "teach", onsubmit: submit },
    el("label", { for: "teach-label" }, kind().teaching.question), label, chooser.element, button);

  function submit(event) {
    event.preventDefault();
    const name = label.value.trim();
    if (isSending) return;
    if (!name) label.focus();
    else if (!chooser.chosen().length) chooser.focus();
    else send(name);
  }

  function refresh() {
    const name = label.value.trim();
    const num = chooser.chosen().length;
    button.ariaDisabled = String(isSending || !name || !num);
    button.textContent = num && name ? `Teach ${counted(num)} of “${name}”` : "Teach";
  }

  async function send(given) {
    const chosen = chooser.chosen();
    chooser.clear();
    isSending = true;
    refresh();
    const stored = [];
    const refused = [];
    let name = given; // as stored: an earlier spelling of the class, if there is one
    showProblems(refused);
    showProgress(0, chosen.length);
    await Promise.all(chosen.map(async (each) => {
      try {
        const answer = await each.give(given);
        stored.push(answer.feedback_id);
        name = answer.label;
      } catch (problem) {
        refused.push({ name: each.name, detail: problem.message });
        showProblems(refused);
      }
      showProgress(stored.length + refused.length, chosen.length);
    }));
    isSending = false;
    bar.hidden = true;
    label.value = "";
    showResult(name, stored, refused.length);
    refresh();
    refreshStatus();
  }

  function showProgress(done, all) {
    bar.hidden = false;
    fill(bar, done / all);
    say(result, `${done} of ${counted(all)}…`);
  }

  function showProblems(refused) {
    problems.hidden = refused.length === 0;
    put(problems, refused.map(({ name, detail }) => el("li", {}, el("b", { dir: "auto", class: "apart" }, name), `: ${detail}`)));
  }

  function showResult(name, stored, numRefused) {
    const text = numRefused ? `${counted(numRefused)} rejected, ${stored.length} stored as ` : `${counted(stored.length)} stored as `;
    const undo = el("button", { type: "button", class: "link", onclick: () => takeBack(stored) }, "Undo");
    put(result, text, el("b", {}, name), ". ", stored.length > 0 && undo);
    result.hidden = false;
    announce(`${text}${name}`);
  }

  async function takeBack(stored) {
    say(result, "Taking them back…");
    const done = await Promise.allSettled(stored.map((feedback_id) => outbox.takeBack({ feedback_id })));
    const numFailed = done.filter(({ status }) => status === "rejected").length;
    say(result, numFailed
      ? `${count(numFailed, "label")} could not be taken back; try again later.`
      : `${count(stored.length, "label")} taken back.`);
    refreshStatus();
  }

  refresh();
  return el("div", { class: "teaching" }, form, bar, result, problems);
}
