// The icons of the navigation, drawn with lines in the colour of the text.

import { svg } from "./dom.js";

const PATHS = {
  photo: "M4 7h3l2-2.5h6L17 7h3v12H4z M12 16.2a3.4 3.4 0 1 0 0-6.8 3.4 3.4 0 0 0 0 6.8z",
  text: "M4 4.5h16v11.5h-9l-4 3.5v-3.5H4z M7.5 8.5h9 M7.5 12h6",
  review: "M4 4h7v7H4z M13 4h7v7h-7z M4 13h7v7H4z M13.5 16.5l2.5 2.5 4.5-5",
  learn: "M4 4v16h16 M7.5 15.5l4-4.5 3 2.5 5-6.5",
  versions: "M12 3.5l8.5 4.5-8.5 4.5L3.5 8z M3.5 12l8.5 4.5 8.5-4.5 M3.5 16l8.5 4.5 8.5-4.5",
  data: "M4 6.5c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3z M4 6.5v11c0 1.7 3.6 3 8 3s8-1.3 8-3v-11 M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3",
};

export const icon = (name) =>
  svg("svg", { viewBox: "0 0 24 24", width: "20", height: "20", class: "icon", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
