// Export: the labelled set as a download, in three formats.

import { el } from "../../dom.js";
import { panel } from "../heading.js";

const FORMATS = [
  ["folder", "Folders", "a folder for each class, and labels.csv"],
  ["jsonl", "JSONL", "one line for each photo"],
  ["label-studio", "Label Studio", "its JSON, to be imported there"],
];

export function exportPanel() {
  const images = el("input", { type: "checkbox", id: "export-images", checked: true, onchange: show });
  const links = FORMATS.map(([format, title, about]) => {
    const link = el("a", { class: "button plain small", download: true }, title);
    return { format, link, item: el("li", {}, link, el("span", { class: "quiet fine" }, about)) };
  });

  function show() {
    for (const { format, link } of links) link.href = `v1/export?${new URLSearchParams({ format, images: images.checked })}`;
  }

  show();
  return panel("Export",
    el("p", { class: "quiet" }, "Everything labelled, with the side of the hold-out that each photo is on. It can be imported again."),
    el("label", { class: "check-field" }, images, " with the photos"),
    el("ul", { class: "exports" }, ...links.map(({ item }) => item)));
}
