// What texts are handed over with: to try them, and to teach a class.

import { predict } from "../../api/texts.js";
import { el, say, setText } from "../../dom.js";
import { count, whole } from "../../format.js";
import * as outbox from "../../outbox.js";
import { navigate } from "../../router.js";
import { may } from "../../session.js";
import { hand } from "../data/handed.js";
import { acceptFiles } from "../files.js";
import { linesOf, readFile, sortOf } from "./lines.js";
import { nameOf } from "./preview.js";

const MOST_LINES = 500; // a card for each: more are for an import
const SHOWN_CHARACTERS = 600;
const FILES = ".txt,.csv,.jsonl,text/plain,text/csv";

const named = (text) => ({ name: nameOf(text), give: (label) => outbox.give({ text, label }) });

function asked(text) {
  return {
    ...named(text),
    preview: shown(text),
    predict: () => predict(text),
    forget() {},
  };
}

/** A text of this page; a long one at first in part. */
function shown(text) {
  const start = [...text.slice(0, SHOWN_CHARACTERS + 1)];
  if (start.length <= SHOWN_CHARACTERS) return el("p", { class: "asked-text", dir: "auto" }, text);
  const part = el("p", { class: "asked-text", dir: "auto" }, `${start.slice(0, SHOWN_CHARACTERS - 1).join("")}…`);
  const more = el("button", { type: "button", class: "link", onclick: () => {
    part.textContent = text;
    more.remove();
  } }, "Show all of it");
  return el("div", {}, part, more);
}

/**
 * A field for texts, with the offer to take each line for one: {element, problem, texts(), clear(),
 * focus()}. `file` is an element that opens the file dialog; `changed()` is called at each change.
 */
function makeField({ id, rows, placeholder, label, isByLine, changed }) {
  const field = el("textarea", { id, rows, dir: "auto", placeholder, "aria-label": label, autocomplete: "off", oninput: refresh, onkeydown: send });
  const box = el("input", { type: "checkbox", id: `${id}-lines`, checked: isByLine, onchange: refresh });
  const boxText = el("span", {});
  const byLine = el("label", { class: "check-field fine", hidden: true }, box, boxText);
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const files = el("input", { id: `${id}-file`, class: "unseen", type: "file", accept: FILES });
  const file = el("label", { class: "quiet fine file-link" }, files,
    el("span", { class: "with-mouse" }, "or drop a .txt, .csv or .jsonl file, or "), el("span", { class: "as-link" }, "choose a file"));

  function send(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    field.form.requestSubmit();
  }

  function texts() {
    const lines = linesOf(field.value);
    if (lines.length < 2 || !box.checked) return lines.length ? [field.value.trim()] : [];
    return lines.slice(0, MOST_LINES);
  }

  function refresh() {
    const num = linesOf(field.value).length;
    byLine.hidden = num < 2;
    const more = num > MOST_LINES ? `: the first ${MOST_LINES} of ${whole(num)}` : `: ${count(num, "text")}`;
    setText(boxText, `One text per line${more}`);
    changed();
  }

  async function take([chosen]) {
    say(problem, null);
    const sort = sortOf(chosen);
    if (sort === "import" && may("train")) {
      hand(chosen);
      navigate("data");
    } else if (sort !== "lines") {
      say(problem, sort === "import"
        ? `${chosen.name} is to be imported, by whoever may train. Take a .txt file with one text per line.`
        : `${chosen.name} is no file of texts: take .txt with one text per line, .csv or .jsonl.`);
    } else {
      try {
        field.value = await readFile(chosen);
        box.checked = true;
        refresh();
        field.focus();
      } catch {
        say(problem, `${chosen.name} is not UTF-8: save it as UTF-8, and try again.`);
      }
    }
  }

  return {
    field, byLine, file, problem, texts, refresh,
    acceptOn: (zone) => acceptFiles(zone, files, take),
    clear() {
      field.value = "";
      box.checked = isByLine;
      refresh();
    },
  };
}

/** The box of Try. */
export function makeAsk(add) {
  const send = el("button", { id: "ask-send", type: "submit", "aria-keyshortcuts": "Control+Enter" }, "Predict");
  const input = makeField({
    id: "ask-text", rows: 4, placeholder: "for example: where is my refund?", label: null, isByLine: false, changed: refresh,
  });
  const element = el("form", { class: "text-box panel", id: "ask-box", onsubmit: (event) => {
    event.preventDefault();
    submit();
  } },
    el("label", { for: "ask-text" }, "Type or paste a text"), input.field, input.byLine, input.problem,
    el("div", { class: "buttons" }, send, el("span", { class: "quiet fine with-mouse" }, el("kbd", {}, "Ctrl"), " ", el("kbd", {}, "Enter")), input.file));
  input.acceptOn(element);

  function refresh() {
    const num = input.texts().length;
    send.ariaDisabled = String(num === 0);
    setText(send, num > 1 ? `Predict ${count(num, "text")}` : "Predict");
  }

  function submit() {
    const texts = input.texts();
    input.field.focus();
    if (!texts.length) return;
    input.clear();
    add(texts.map(asked));
  }

  refresh();
  return { element, focus: () => input.field.focus(), listen: () => () => {} };
}

/** The field of teaching. */
export function makeChooser(changed) {
  const input = makeField({
    id: "teach-texts", rows: 5, placeholder: "one text per line", label: "The texts", isByLine: true, changed,
  });
  const element = el("div", { class: "text-box" }, input.field, input.byLine, input.problem, input.file);
  input.acceptOn(element);
  return {
    element,
    chosen: () => input.texts().map(named),
    clear: input.clear,
    focus: () => input.field.focus(),
  };
}
