// The beginning of a file of labelled texts: its columns, and some rows to choose them by. The server
// reads the file itself.

const MAX_ROWS = 200;
const DELIMITERS = [",", ";", "\t"];

/** {columns, rows}: a row is a list of strings, in the order of the columns. There are no columns to
 * choose from where it is Label Studio's JSON. */
export const readTable = (text, isJson) => (isJson ? ofJson(text) : ofCsv(text));

function ofJson(text) {
  const list = parsed(text);
  const all = Array.isArray(list) ? list.slice(0, MAX_ROWS) : text.split("\n", MAX_ROWS).map(parsed);
  const objects = all.filter((each) => each && typeof each === "object" && !Array.isArray(each));
  if (objects.some(({ data }) => data && typeof data === "object")) return { columns: [], rows: [] };
  const columns = [...new Set(objects.flatMap(Object.keys))];
  const shown = (value) => (typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value));
  return { columns, rows: objects.map((each) => columns.map((column) => shown(each[column]))) };
}

/** Undefined: a blank line, or the last one, which the excerpt has cut. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** As RFC 4180 has it: quotes hold delimiters and line ends, and are doubled within. The delimiter is
 * the one that the first line has most of. */
function ofCsv(text) {
  const [first] = text.split(/[\r\n]/, 1);
  const delimiter = DELIMITERS.reduce((best, each) => (first.split(each).length > first.split(best).length ? each : best));
  const all = [];
  let row = [];
  let cell = "";
  let isQuoted = false;
  for (let i = 0; i < text.length && all.length <= MAX_ROWS; i += 1) {
    const character = text[i];
    if (isQuoted) {
      if (character !== '"') cell += character;
      else if (text[i + 1] === '"') {
        cell += '"';
        i += 1;
      } else isQuoted = false;
    } else if (character === '"' && cell === "") isQuoted = true;
    else if (character === delimiter) {
      row.push(cell);
      cell = "";
    } else if (character === "\n" || character === "\r") {
      if (character === "\r" && text[i + 1] === "\n") i += 1;
      if (row.length || cell) all.push([...row, cell]);
      [row, cell] = [[], ""];
    } else cell += character;
  }
  if (row.length || cell) all.push([...row, cell]);
  const [columns = [], ...rows] = all;
  return { columns, rows };
}

const TEXTS = ["text", "message", "body", "content", "sentence", "review", "description", "comment", "subject", "title"];
const LABELS = ["label", "class", "category", "target", "intent", "topic", "section", "tag", "queue", "sentiment"];

/** Which columns are likely to be the text and the label: [text, label]. */
export function guess({ columns, rows }) {
  const named = (names) => names.map((name) => columns.findIndex((column) => column.trim().toLowerCase() === name)).find((k) => k >= 0);
  const average = (k) => rows.reduce((sum, row) => sum + (row[k] ?? "").length, 0);
  const byLength = columns.map((_, k) => k).sort((one, other) => average(other) - average(one));
  const text = named(TEXTS) ?? byLength[0];
  const distinct = (k) => new Set(rows.map((row) => row[k])).size;
  const others = columns.map((_, k) => k).filter((k) => k !== text).sort((one, other) => distinct(one) - distinct(other));
  const label = named(LABELS.filter((name) => columns[text] !== name)) ?? others[0] ?? text;
  return [columns[text], columns[label]];
}
