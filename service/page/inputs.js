// What the installation classifies, photos or texts, and all in which the page differs between them.
//
// Nothing else asks which of the two it is: it asks the kind. A kind has
//
//   words       {one, many}: "photo", "photos"
//   icon        of Try, in the navigation
//   makeAsk(add)          what Try takes inputs with: {element, focus(), listen() returning its end};
//                         `add(asked)` adds a list of them
//   moves       which keys lead from card to card in Try, by how many
//   concurrent  how many predictions are asked for at once
//   teaching    {about, question, example}, and makeChooser(changed): {element, chosen(), clear(), focus()};
//               `changed(isWhole)`: whether nothing else is likely to come
//   preview({kind, id, excerpt})  a small element of what the server has; `kind`: example or prediction
//   whole({kind, id}, name)       all of it
//   sizeOf(example)               "640 × 480", or "120 characters"
//   list        of Review: {look, sizes, layout}, as components/grid/grid.js has it
//   imports     {about, choose, accept, unit, prepare(file)}: `unit` is what a report counts; `prepare`
//               resolves with the parameters of the upload, or with null after a cancel
//   exports     {formats, choices}: each [name, title, what it is]; choices are parameters, on at first
//
// What people try is `asked`: {name, preview, predict(), give(label), forget()}, where `preview` is an
// element and `give` a promise of the outbox.

import { PHOTOS } from "./components/photos/kind.js";
import { TEXTS } from "./components/texts/kind.js";
import { count } from "./format.js";
import { get, set, watch } from "./state.js";

const KINDS = { image: PHOTOS, text: TEXTS };
const KEPT = "input";

/** The kind of this installation; until the server tells, that of the last time. */
export const kind = () => KINDS[get("input")];

/** "one photo", "many texts", in the words of the kind. */
export const words = () => kind().words;

/** The same at the beginning of a sentence. */
export function titleWords() {
  const { one, many } = words();
  const raise = (word) => word[0].toUpperCase() + word.slice(1);
  return { one: raise(one), many: raise(many) };
}

/** "3 photos"; `before` stands between: "3 labelled photos". */
export function counted(number, before = "") {
  const { one, many } = words();
  return count(number, `${before}${one}`, `${before}${many}`);
}

/** Before the views: those that are shown are mounted again when it is another kind. */
export function startInputs() {
  use(kept());
  watch("status", (status) => use(status?.input));
}

function use(name) {
  if (!Object.hasOwn(KINDS, name ?? "") || name === get("input")) return;
  set("input", name);
  try {
    localStorage.setItem(KEPT, name);
  } catch {
    // The next visit begins with photos.
  }
}

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}
