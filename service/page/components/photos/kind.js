// Photos: in what the page differs where it classifies them. What the parts mean: inputs.js.

import { makeAsk, makeChooser } from "./ask.js";
import { preview, whole } from "./preview.js";

const CAPTION_PX = 34; // below the square photo
const GAP_PX = 8;

export const PHOTOS = {
  words: { one: "photo", many: "photos" },
  icon: "photo",
  makeAsk,
  moves: { ArrowLeft: -1, ArrowRight: 1 },
  concurrent: 4,
  teaching: { about: "Many photos of one class together.", question: "What is on the photos?", example: "tulip", makeChooser },
  preview,
  whole,
  sizeOf: ({ width, height }) => `${width} × ${height}`,
  list: {
    look: "photos",
    sizes: [["S", "Small", 96], ["M", "Medium", 148], ["L", "Large", 240]],
    layout: {
      gap: GAP_PX,
      columns: (room, side) => Math.max(1, Math.floor((room + GAP_PX) / (side + GAP_PX))),
      height: (width) => width + CAPTION_PX,
    },
  },
  imports: {
    about: "A folder for each class, or a CSV, JSONL or Label Studio file with its photos.",
    choose: "Choose a zip",
    accept: ".zip,application/zip",
    unit: "file",
    prepare: () => Promise.resolve({}),
  },
  exports: {
    formats: [
      ["folder", "Folders", "a folder for each class, and labels.csv"],
      ["jsonl", "JSONL", "one line for each photo"],
      ["label-studio", "Label Studio", "its JSON, to be imported there"],
    ],
    choices: [["images", "with the photos"]],
  },
};
