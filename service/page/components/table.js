// Tables, which scroll in their own frame where the screen is narrow.

import { el } from "../dom.js";

/** `rows`: lists of cells, each an element, a string, or {class, content}. The first column is of
 * names, the others are of numbers. */
export const makeTable = (name, columns, rows) =>
  frame(name, el("table", {},
    el("thead", {}, el("tr", {}, columns.map((column, i) => el("th", { scope: "col", class: i && "number" }, column)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, i) => {
      const { class: kind = "", content } = cell?.content === undefined ? { content: cell } : cell;
      return i ? el("td", { class: `number ${kind}`.trim() }, content) : el("th", { scope: "row" }, content);
    }))))));

/** The frame can be scrolled by keyboard, so it takes the focus and has a name. */
export const frame = (name, table) =>
  el("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": `${name}, table` }, table);
