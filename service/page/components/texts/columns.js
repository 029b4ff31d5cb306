// Which column of a file has the texts, and which one the classes: asked before an import.

import { el, put } from "../../dom.js";
import { open } from "../dialog.js";
import { readFile } from "./lines.js";
import { guess, readTable } from "./table.js";

const READ_BYTES = 256 * 1024;
const SHOWN_ROWS = 4;

/** Resolves with {text, label}, or with null after a cancel. What cannot be read here is left to the
 * server, which says what is wrong with it. */
export async function chooseColumns(file) {
  const isJson = !/\.[ct]sv$/i.test(file.name);
  const table = await readStart(file, isJson);
  if (table === null || table.columns.length < 2) return {};
  const [text, label] = guess(table);
  const fields = [["text", "Texts", text], ["label", "Classes", label]].map(([name, title, chosen]) => {
    const select = el("select", { id: `import-${name}`, onchange: show },
      table.columns.map((column) => el("option", { value: column, selected: column === chosen }, column)));
    return { name, select, field: el("label", { class: "row", for: `import-${name}` }, el("span", {}, title), select) };
  });
  const sample = el("table", { class: "sample" });

  function show() {
    const places = fields.map(({ select }) => table.columns.indexOf(select.value));
    put(sample, el("tbody", {}, table.rows.slice(0, SHOWN_ROWS).map((row) => el("tr", {}, places.map((k) =>
      el("td", {}, el("p", { class: "excerpt", dir: "auto" }, row[k] ?? "")))))));
  }

  show();
  const answer = await open("Which columns?", [
    el("p", { class: "quiet" }, `${file.name} has ${table.columns.length} columns.`),
    el("div", { class: "columns" }, fields.map(({ field }) => field)),
    el("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": "The first rows" }, sample),
  ], "Import");
  return answer && Object.fromEntries(fields.map(({ name, select }) => [name, select.value]));
}

async function readStart(file, isJson) {
  let start = file.slice(0, READ_BYTES);
  if (file.size > READ_BYTES) start = await wholeCharacters(start);
  try {
    return readTable(await readFile(start), isJson);
  } catch {
    return null;
  }
}

/** Without a character of UTF-8 that the cut has parted. */
async function wholeCharacters(blob) {
  const bytes = new Uint8Array(await blob.slice(-4).arrayBuffer());
  const start = bytes.findLastIndex((byte) => (byte & 0xc0) !== 0x80);
  return start > 0 && bytes[start] >= 0xc0 ? blob.slice(0, blob.size - (bytes.length - start)) : blob;
}
