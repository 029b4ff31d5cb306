// A list whose unchanged rows stay: a button must not be replaced under the pointer.

/** Returns `show(items)`. `keyOf(item)` names a row; `make(item)` makes its element. */
export function makeRows(list, keyOf, make) {
  let rows = new Map();
  return (items) => {
    const kept = rows;
    rows = new Map();
    for (const [index, item] of items.entries()) {
      const key = keyOf(item);
      const content = JSON.stringify(item);
      const old = kept.get(key);
      const row = old?.content === content ? old : { content, element: make(item) };
      rows.set(key, row);
      if (list.children[index] === row.element) continue;
      if (old && old !== row && list.children[index] === old.element) old.element.replaceWith(row.element);
      else list.insertBefore(row.element, list.children[index] ?? null);
    }
    while (list.children.length > items.length) list.lastElementChild.remove();
  };
}
