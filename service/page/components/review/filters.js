// Above the grid: what it shows. Each choice is an address.

import { el, put } from "../../dom.js";
import { counted, titleWords, words } from "../../inputs.js";
import { address, navigate } from "../../router.js";
import { sourceParams, sources } from "./source.js";

const YES_NO = (yes, no) => [["", "any"], ["true", yes], ["false", no]];

// Per list: parameter, name, and the choices (null: the classes).
const CHOICES = {
  examples: [
    ["class", "Class", null],
    ["predicted", "Model says", null],
    ["agrees", "Label and model", YES_NO("agree", "differ")],
    ["held_out", "Used for", YES_NO("evaluation", "training")],
    ["suspected", "Suspect", YES_NO("yes", "no")],
    ["unfamiliar", "Unfamiliar", YES_NO("yes", "no")],
    ["labelled", "Label", [["", "given"], ["false", "taken back"]]],
    ["sort", "Order", [["", "newest first"], ["oldest", "oldest first"], ["suspicion", "most suspect first"], ["similarity", "least familiar first"]]],
  ],
  predictions: [
    ["label", "Model says", null],
    ["unfamiliar", "Unfamiliar", YES_NO("yes", "no")],
  ],
};

// What an empty list means, and what can be done.
function nothingIn(name) {
  const { one, many } = words();
  return {
    doubt: [`Nothing is waiting for a label. ${titleWords().many} come here as they are sent for prediction.`, `Try some ${many}`],
    predictions: [`No ${one} of a prediction is kept without a label.`, `Try some ${many}`],
    suspect: ["No label is suspect. Labels are checked after each run.", "Show the most doubtful"],
    unfamiliar: [`No ${one} is unlike everything labelled.`, "Show the most doubtful"],
    examples: ["Nothing is labelled yet.", "Show the most doubtful"],
    ids: [`These ${many} are no longer here.`, "Show the most doubtful"],
  }[name];
}

export function makeFilters() {
  const tabs = el("nav", { class: "sources", "aria-label": "What to review" });
  const choices = el("div", { class: "filters" });
  const about = el("p", { class: "quiet" });

  function show(source, names) {
    const all = sources();
    put(tabs, all.map(([name, title]) => el("a", {
      href: address("review", { by: name }), "aria-current": source.name === name ? "page" : null,
    }, title)));
    tabs.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    put(about, source.ids ? `${counted(source.ids.length)} chosen on the map.` : all.find(([name]) => name === source.name)[2]);
    put(choices, (CHOICES[source.name] ?? []).map(([filter, title, options]) => choice(source, filter, title, options ?? ofClasses(names, source.filters[filter]))));
    choices.hidden = !CHOICES[source.name];
  }

  // The class of the address is offered even if nothing has it any more.
  const ofClasses = (names, given) => [["", "any"], ...[...new Set([...names, ...(given ? [given] : [])])].map((name) => [name, name])];

  function choice(source, filter, title, options) {
    const chosen = source.filters[filter] ?? "";
    const select = el("select", { name: filter, onchange: () => navigate("review", sourceParams({ ...source, filters: { ...source.filters, [filter]: select.value } })) },
      ...options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
    return el("label", { class: chosen ? "set" : "" }, el("span", {}, title), select);
  }

  /** What is said where there is nothing to show. */
  function nothing(source) {
    const isFiltered = Object.keys(source.filters).length > 0;
    const [text, more] = isFiltered ? [`No ${words().one} matches these filters.`, "Show all of them"] : nothingIn(source.name);
    const to = isFiltered ? address("review", { by: source.name }) : source.name === "predictions" || source.name === "doubt" ? address("try") : address("review", { by: "doubt" });
    return [el("p", {}, text), el("a", { class: "button plain", href: to }, more)];
  }

  return { nothing, show, tabs, about, choices };
}
