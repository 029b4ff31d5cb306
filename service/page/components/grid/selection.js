// Which items of a list are selected, which one has the focus, and where a range starts. It draws
// nothing: grid.js does. Items are known by their keys.

export function makeSelection() {
  let keys = [];
  let indices = new Map();
  const selected = new Set();
  let focus = -1; // an index; -1: the list is empty
  let anchor = null; // the key that a range starts from

  const clamp = (index) => Math.min(keys.length - 1, Math.max(0, index));

  /** Other items, or another order. What is gone is no longer selected. The focus keeps its item;
   * if that is gone, it goes to the first one after it that stays. */
  function setKeys(newest) {
    const focused = keys[focus];
    const before = keys.slice(0, Math.max(0, focus));
    keys = newest;
    indices = new Map(keys.map((key, index) => [key, index]));
    for (const key of [...selected]) if (!indices.has(key)) selected.delete(key);
    if (anchor !== null && !indices.has(anchor)) anchor = null;
    const place = () => clamp(before.filter((key) => indices.has(key)).length);
    focus = keys.length === 0 ? -1 : indices.get(focused) ?? place();
  }

  function range(from, to) {
    const [first, last] = from <= to ? [from, to] : [to, from];
    return keys.slice(first, last + 1);
  }

  /** `extend` selects from the anchor to `index`, `toggle` adds or removes it alone. */
  function choose(index, { extend = false, toggle = false } = {}) {
    if (!keys.length) return;
    const start = anchor === null ? clamp(focus) : indices.get(anchor);
    focus = clamp(index);
    const key = keys[focus];
    if (extend) {
      if (!toggle) selected.clear();
      anchor = keys[start];
      for (const each of range(start, focus)) selected.add(each);
    } else if (toggle) {
      if (!selected.delete(key)) selected.add(key);
      anchor = key;
    } else {
      selected.clear();
      selected.add(key);
      anchor = key;
    }
  }

  /** Move the focus. Alone it ends the selection, so that a key then means the focused item. */
  function move(index, { extend = false, keep = false } = {}) {
    if (!keys.length) return;
    if (extend) {
      choose(index, { extend });
      return;
    }
    focus = clamp(index);
    if (keep) return;
    selected.clear();
    anchor = null;
  }

  function replace(newest) {
    selected.clear();
    for (const key of newest) if (indices.has(key)) selected.add(key);
  }

  return {
    setKeys, choose, move, replace,
    all: () => replace(keys),
    clear() {
      selected.clear();
      anchor = null;
    },
    has: (key) => selected.has(key),
    indexOf: (key) => indices.get(key) ?? -1,
    get keys() { return keys; },
    get size() { return selected.size; },
    get focus() { return focus; },
    get focusKey() { return keys[focus] ?? null; },
    /** The selected keys in the order of the list. */
    selected: () => keys.filter((key) => selected.has(key)),
    /** What an action applies to: the selection, or the focused item. */
    targets() {
      if (selected.size) return keys.filter((key) => selected.has(key));
      return focus < 0 ? [] : [keys[focus]];
    },
  };
}
