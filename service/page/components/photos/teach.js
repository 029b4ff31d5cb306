// "Teach it": one label for many photos.

import { el, fill, put, say } from "../../dom.js";
import { count } from "../../format.js";
import * as outbox from "../../outbox.js";
import { refresh as refreshStatus } from "../../stream.js";
import { progressBar } from "../bar.js";
import { acceptPhotos } from "./photos.js";
import { announce } from "../toast.js";

/** The form. It keeps what was chosen while other views are shown. */
export function makeTeaching() {
  let chosen = [];
  let isSending = false;

  const label = el("input", {
    id: "teach-label", type: "text", list: "classes", maxlength: 100, autocomplete: "off", autocapitalize: "off",
    spellcheck: "false", placeholder: "for example: tulip", oninput: refresh,
  });
  const files = el("input", { id: "teach-files", class: "unseen", type: "file", accept: "image/*", multiple: true });
  const chosenText = el("strong", { id: "teach-chosen" });
  const drop = el("label", { class: "drop small", id: "teach-drop" }, files, chosenText,
    el("span", { class: "quiet with-mouse" }, "or drop them here, or a whole folder"));
  const button = el("button", { id: "teach-send", type: "submit" });
  const bar = progressBar("Photos stored", { id: "teach-bar", hidden: true });
  const result = el("p", { id: "teach-result", class: "fine", hidden: true });
  const problems = el("ul", { id: "teach-problems", class: "problems", hidden: true });
  const form = el("form", { id: "teach", onsubmit: submit },
    el("label", { for: "teach-label" }, "What is on the photos?"), label, drop, button);
  acceptPhotos(drop, files, (added) => {
    if (isSending) return;
    chosen = chosen.concat(added);
    refresh();
    if (!label.value.trim()) label.focus();
  });

  function submit(event) {
    event.preventDefault();
    const name = label.value.trim();
    if (isSending) return;
    if (!name) label.focus();
    else if (!chosen.length) files.focus();
    else send(name);
  }

  function refresh() {
    const name = label.value.trim();
    chosenText.textContent = chosen.length ? `${count(chosen.length, "photo")} chosen` : "Choose the photos";
    button.ariaDisabled = String(isSending || !name || !chosen.length);
    button.textContent = chosen.length && name ? `Teach ${count(chosen.length, "photo")} of “${name}”` : "Teach";
  }

  async function send(given) {
    const photos = chosen;
    chosen = [];
    isSending = true;
    refresh();
    const stored = [];
    const refused = [];
    let name = given; // as stored: an earlier spelling of the class, if there is one
    showProblems(refused);
    showProgress(0, photos.length);
    await Promise.all(photos.map(async (file) => {
      try {
        const answer = await outbox.givePhoto(file, given);
        stored.push(answer.feedback_id);
        name = answer.label;
      } catch (problem) {
        refused.push({ name: file.name, detail: problem.message });
        showProblems(refused);
      }
      showProgress(stored.length + refused.length, photos.length);
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
    say(result, `${done} of ${count(all, "photo")}…`);
  }

  function showProblems(refused) {
    problems.hidden = refused.length === 0;
    put(problems, refused.map(({ name, detail }) => el("li", {}, el("b", {}, name), `: ${detail}`)));
  }

  function showResult(name, stored, numRefused) {
    const text = numRefused ? `${count(numRefused, "photo")} rejected, ${stored.length} stored as ` : `${count(stored.length, "photo")} stored as `;
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
