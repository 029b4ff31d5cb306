// The items of a review in their order: those shown, and those that left with a label. Items are
// objects with a `key`, never changed in place.

import { labelAll } from "./sitting.js";

/** `empties`: a labelled item leaves the list. `onChange(restored)` is called when what is shown
 * changes, with the keys of those that came back by an undo. */
export function makeWorklist({ empties, onChange }) {
  const known = new Map(); // key to the newest {item, rank, isShown}
  let shown = [];
  let last = 0;

  function publish(restored = []) {
    shown = [...known.values()].filter((each) => each.isShown).sort((one, other) => one.rank - other.rank).map(({ item }) => item);
    onChange(restored);
  }

  const set = (item, isShown = true) => {
    const before = known.get(item.key);
    if (before) known.set(item.key, { ...before, item, isShown });
  };

  /** Add those that are not known yet. Returns how many. */
  function add(items) {
    const before = known.size;
    for (const item of items) if (!known.has(item.key)) known.set(item.key, { item, rank: (last += 1), isShown: true });
    publish();
    return known.size - before;
  }

  /** A newer queue: what is on the screen (the first `numKept`) and `keys` stay where they are. */
  function refresh(items, numKept, keys = []) {
    const stay = new Set([...shown.slice(0, numKept).map(({ key }) => key), ...keys]);
    for (const item of shown) if (!stay.has(item.key) && !item.problem) known.delete(item.key);
    const newer = new Map(items.map((item) => [item.key, item]));
    for (const { item, isShown } of [...known.values()]) {
      if (isShown && newer.has(item.key) && !item.problem) set({ ...newer.get(item.key), isSkipped: item.isSkipped });
    }
    add(items);
  }

  /** Label as one action: `labels` is a Map of key to label. */
  function label(labels) {
    const before = [...labels.keys()].map((key) => known.get(key).item);
    labelAll(before.map((item) => ({ item, label: labels.get(item.key) })), {
      apply() {
        for (const item of before) set({ ...item, given: labels.get(item.key), problem: null }, !empties);
        publish();
      },
      revert() {
        for (const item of before) set(item);
        publish(before.map(({ key }) => key));
      },
      refused(problems) {
        for (const { item, label: given, problem } of problems) set({ ...item, given, problem });
        publish();
      },
    });
  }

  function skip(keys) {
    for (const key of keys) set({ ...known.get(key).item, isSkipped: true });
    publish();
  }

  return { add, refresh, label, skip, get shown() { return shown; } };
}
