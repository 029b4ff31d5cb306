// Export: the labelled set as a download, in several formats.

import { el } from "../../dom.js";
import { kind, words } from "../../inputs.js";
import { panel } from "../heading.js";

export function exportPanel() {
  const { formats, choices } = kind().exports;
  const boxes = choices.map(([name, title]) => {
    const box = el("input", { type: "checkbox", id: `export-${name}`, checked: true, onchange: show });
    return { name, box, label: el("label", { class: "check-field" }, box, ` ${title}`) };
  });
  const links = formats.map(([format, title, about]) => {
    const link = el("a", { class: "button plain small", download: true }, title);
    return { format, link, item: el("li", {}, link, el("span", { class: "quiet fine" }, about)) };
  });

  function show() {
    const chosen = boxes.map(({ name, box }) => [name, box.checked]);
    for (const { format, link } of links) link.href = `v1/export?${new URLSearchParams([["format", format], ...chosen])}`;
  }

  show();
  return panel("Export",
    el("p", { class: "quiet" }, `Everything labelled, with the side of the hold-out that each ${words().one} is on. It can be imported again.`),
    ...boxes.map(({ label }) => label),
    el("ul", { class: "exports" }, ...links.map(({ item }) => item)));
}
