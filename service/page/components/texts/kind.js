// Texts: in what the page differs where it classifies them. What the parts mean: inputs.js.

import { count } from "../../format.js";
import { makeAsk, makeChooser } from "./ask.js";
import { chooseColumns } from "./columns.js";
import { preview, whole } from "./preview.js";

const LINE_PX = 21;
const PADDING_PX = 16;
const CAPTION_PX = 36; // beside the text, or below it where the window is narrow
const NARROW_PX = 620; // as in style/texts.css

export const TEXTS = {
  words: { one: "text", many: "texts" },
  icon: "text",
  makeAsk,
  moves: { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 },
  concurrent: 64,
  teaching: { about: "Many texts of one class together.", question: "What are the texts about?", example: "billing", makeChooser },
  preview,
  whole,
  sizeOf: ({ width, height }) => `${count(width, "character")} in ${count(height, "line")}`,
  list: {
    look: "texts",
    sizes: [["S", "Short", 1], ["M", "Medium", 2], ["L", "Long", 5]],
    layout: {
      gap: 6,
      columns: () => 1,
      height(width, lines) {
        const text = lines * LINE_PX;
        return PADDING_PX + (width < NARROW_PX ? text + CAPTION_PX : Math.max(text, CAPTION_PX));
      },
    },
  },
  imports: {
    about: "A CSV or JSONL file with texts and their classes, Label Studio's JSON, or a zip with a folder for each class.",
    choose: "Choose a file",
    accept: ".csv,.tsv,.jsonl,.ndjson,.json,.zip",
    unit: "line",
    prepare: chooseColumns,
  },
  exports: {
    formats: [
      ["csv", "CSV", "a table of texts and their classes"],
      ["jsonl", "JSONL", "one line for each text"],
      ["label-studio", "Label Studio", "its JSON, to be imported there"],
    ],
    choices: [],
  },
};
