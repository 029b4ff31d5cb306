// Photos that the server has, as images.

import { imageOf } from "../../api/photos.js";
import { el } from "../../dom.js";

/** A thumbnail; `no-image` where there is none. */
export function preview(item) {
  const image = el("img", { src: imageOf(item), class: "preview", alt: "", loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "preview no-image" }, "no photo")));
  return image;
}

export function whole(item, name) {
  const image = el("img", { src: imageOf(item, "whole"), class: "full-photo", alt: name });
  image.addEventListener("error", () => image.replaceWith(el("p", { class: "empty" }, "The photo cannot be shown here.")));
  return image;
}
