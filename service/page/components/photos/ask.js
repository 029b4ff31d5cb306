// What photos are handed over with: to try them, and to teach a class.

import { predict } from "../../api/photos.js";
import { el, svg } from "../../dom.js";
import { count } from "../../format.js";
import { givePhoto } from "../../outbox.js";
import { acceptFiles } from "../files.js";

const isPhoto = ({ type }) => type.startsWith("image/");

/** A photo of this computer. */
function asked(file) {
  const url = URL.createObjectURL(file);
  const preview = el("div", { class: "thumbnail" });
  const image = el("img", { src: url, alt: file.name, decoding: "async" });
  // The service reads some formats that browsers cannot show.
  image.addEventListener("error", () => {
    preview.classList.add("bare");
    image.replaceWith(file.name);
  });
  preview.append(image);
  return {
    name: file.name,
    preview,
    predict: () => predict(file),
    give: (label) => givePhoto(file, label),
    forget: () => URL.revokeObjectURL(url),
  };
}

/** The zone of Try, which takes a file dialog, drops and, while it is shown, pastes. */
export function makeAsk(add) {
  const take = (files) => add(files.map(asked));
  const files = el("input", { id: "ask-files", class: "unseen", type: "file", accept: "image/*", multiple: true });
  const element = el("label", { class: "drop", id: "ask-drop" }, files,
    svg("svg", { viewBox: "0 0 48 40", width: "48", height: "40", "aria-hidden": "true" },
      svg("path", { d: "M6 6h28a4 4 0 0 1 4 4v20a4 4 0 0 1-4 4H6a4 4 0 0 1-4-4V10a4 4 0 0 1 4-4zM13 12.5a3.5 3.5 0 1 0 .01 0zM5 31l10-9 7 6 8-9 8 7M42 2v10M37 7h10" })),
    el("strong", {}, el("span", { class: "with-mouse" }, "Drop photos here"), el("span", { class: "with-touch" }, "Add photos")),
    el("span", { class: "quiet" },
      el("span", { class: "with-mouse" }, "or paste them, or ", el("span", { class: "as-link" }, "choose files")),
      el("span", { class: "with-touch" }, "and see what they are")));
  acceptFiles(element, files, take, isPhoto);
  return { element, focus: () => files.focus(), listen: () => acceptPaste(take) };
}

/** Returns the function that ends it. */
function acceptPaste(take) {
  const hear = (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter(isPhoto);
    if (!files.length) return;
    event.preventDefault();
    take(files);
  };
  document.addEventListener("paste", hear);
  return () => document.removeEventListener("paste", hear);
}

/** The field of teaching: photos, until they are taken by `clear`. */
export function makeChooser(changed) {
  let chosen = [];
  const files = el("input", { id: "teach-files", class: "unseen", type: "file", accept: "image/*", multiple: true });
  const text = el("strong", { id: "teach-chosen" });
  const element = el("label", { class: "drop small", id: "teach-drop" }, files, text,
    el("span", { class: "quiet with-mouse" }, "or drop them here, or a whole folder"));
  acceptFiles(element, files, (added) => {
    chosen = chosen.concat(added);
    show();
    changed(true);
  }, isPhoto);

  function show() {
    text.textContent = chosen.length ? `${count(chosen.length, "photo")} chosen` : "Choose the photos";
  }

  show();
  return {
    element,
    chosen: () => chosen.map((file) => ({ name: file.name, give: (label) => givePhoto(file, label) })),
    clear() {
      chosen = [];
      show();
    },
    focus: () => files.focus(),
  };
}
