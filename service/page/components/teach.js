// "Teach it": one label for many photos.

import * as api from "./api.js";
import { byId, count, el, fill, say } from "./dom.js";
import * as live from "./live.js";
import { acceptPhotos, makeQueue } from "./photos.js";
import { announce } from "./toast.js";

// Enough to keep the connection busy, and few enough for other clients.
const CONCURRENT = 3;

let chosen = [];
let sending = false;

export function startTeaching() {
  acceptPhotos(byId("teach-drop"), byId("teach-files"), (files) => {
    if (sending) return;
    chosen = chosen.concat(files);
    refresh();
  });
  byId("teach-label").addEventListener("input", refresh);
  byId("teach").addEventListener("submit", (event) => {
    event.preventDefault();
    const label = byId("teach-label").value.trim();
    if (sending) return;
    if (!label) byId("teach-label").focus();
    else if (!chosen.length) byId("teach-files").focus();
    else send(label);
  });
  refresh();
}

function refresh() {
  const label = byId("teach-label").value.trim();
  byId("teach-chosen").textContent = chosen.length
    ? `${count(chosen.length, "photo")} chosen` : "Choose the photos";
  byId("teach-send").ariaDisabled = String(sending || !label || !chosen.length);
  byId("teach-send").textContent = chosen.length && label
    ? `Teach ${count(chosen.length, "photo")} of “${label}”` : "Teach";
}

async function send(label) {
  const files = chosen;
  chosen = [];
  sending = true;
  refresh();
  const stored = [];
  let name = label; // as stored: an earlier spelling of the class, if there is one
  const refused = [];
  showProblems(refused);
  showProgress(0, files.length);
  const queue = makeQueue(CONCURRENT, async (file) => {
    try {
      const given = await api.labelPhoto(file, label);
      stored.push(given.id);
      name = given.label;
    } catch (problem) {
      refused.push({ name: file.name, detail: problem.message });
      showProblems(refused);
    }
    showProgress(stored.length + refused.length, files.length);
  });
  await Promise.all(files.map(queue));
  sending = false;
  byId("teach-bar").hidden = true;
  showResult(name, stored, refused.length);
  refresh();
  live.refresh();
}

function showProgress(done, all) {
  byId("teach-bar").hidden = false;
  fill(byId("teach-bar"), done / all);
  say(byId("teach-result"), `${done} of ${count(all, "photo")}…`);
}

function showProblems(refused) {
  const list = byId("teach-problems");
  list.hidden = refused.length === 0;
  list.replaceChildren(...refused.map(({ name, detail }) => el("li", {}, el("b", {}, name), `: ${detail}`)));
}

function showResult(label, stored, numRefused) {
  const line = byId("teach-result");
  const text = numRefused ? `${count(numRefused, "photo")} rejected, ${stored.length} stored as ` : `${count(stored.length, "photo")} stored as `;
  line.replaceChildren(text, el("b", {}, label), ". ");
  if (stored.length) line.append(el("button", { type: "button", class: "link", onclick: undo }, "Undo"));
  line.hidden = false;
  announce(`${text}${label}`);

  async function undo() {
    let failed = 0;
    const queue = makeQueue(CONCURRENT, (id) => api.takeBack(id).catch(() => { failed += 1; }));
    line.replaceChildren("Taking them back…");
    await Promise.all(stored.map(queue));
    line.replaceChildren(failed
      ? `${count(failed, "label")} could not be taken back; try again later.`
      : `${count(stored.length, "label")} taken back.`);
    live.refresh();
  }
}
