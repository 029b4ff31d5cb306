// A dense grid of items, or a list of them, as a listbox. Only the tiles near the window are elements, so 10,000 items
// scroll as smoothly as 100. It knows selection and drawing; what a tile means is the view's.

import { el } from "../../dom.js";
import { followPointer } from "./grid_pointer.js";
import { makeSelection } from "./selection.js";

const BEYOND = 700; // pixels drawn above and below the window
const NEAR_END = 1500; // pixels left when the next items are asked for

/**
 * `drawTile(element, item)` fills a tile and `nameTile(item)` says it in words. `onSelect()` is called
 * when selection or focus changed, `onNearEnd()` when more items are wanted, `onSwipe(key, way)` after
 * a swipe and `onOpen(key)` after a double click. Items are objects with a `key`; one that changed is
 * another object. `layout` is {gap, columns(room, size), height(width, size)} in pixels: `size` is what
 * `setSize` was given last, and `look` the class of the element for the stylesheet.
 */
export function makeGrid({ label, drawTile, nameTile, onSelect, onNearEnd, onSwipe, onOpen, layout, look }) {
  const selection = makeSelection();
  const element = el("div", { class: `grid ${look}`, role: "listbox", tabindex: "0", "aria-label": label, "aria-multiselectable": "true" });
  const tiles = new Map(); // key to {node, item, index}
  let items = [];
  let size = 1;
  let columns = 1;
  let width = 1;
  let waitsForFrame = false;
  const number = (() => { let last = 0; return () => (last += 1); })();

  const { gap } = layout;
  const height = () => layout.height(width, size) + gap;
  const place = (index) => ({ x: (index % columns) * (width + gap), y: Math.floor(index / columns) * height() });

  function measure() {
    const room = element.clientWidth;
    if (!room) return;
    columns = layout.columns(room, size);
    width = (room - gap * (columns - 1)) / columns;
    element.style.setProperty("height", `${Math.ceil(items.length / columns) * height()}px`);
    element.style.setProperty("--side", `${width}px`);
    element.style.setProperty("--high", `${height() - gap}px`);
    element.style.setProperty("--size", size);
  }

  function drawSoon() {
    if (waitsForFrame) return;
    waitsForFrame = true;
    requestAnimationFrame(() => {
      waitsForFrame = false;
      draw();
    });
  }

  /** The indices of the rows that the window shows, and `beyond` pixels more. */
  function shown(beyond) {
    const top = element.getBoundingClientRect().top;
    const first = Math.floor((-top - beyond) / height());
    const last = Math.ceil((window.innerHeight - top + beyond) / height());
    return [Math.max(0, first * columns), Math.min(items.length, Math.max(0, last * columns))];
  }

  function draw() {
    if (!element.isConnected) return;
    const [first, end] = shown(BEYOND);
    const wanted = new Set(items.slice(first, end).map((item) => item.key));
    if (selection.focusKey !== null) wanted.add(selection.focusKey); // aria-activedescendant names it
    for (const [key, { node }] of tiles) {
      if (wanted.has(key)) continue;
      node.querySelector("img")?.removeAttribute("src"); // stop loading what is no longer shown
      node.remove();
      tiles.delete(key);
    }
    for (const key of wanted) drawOne(key);
    const focused = tiles.get(selection.focusKey);
    if (focused) element.setAttribute("aria-activedescendant", focused.node.id);
    else element.removeAttribute("aria-activedescendant");
    const left = element.getBoundingClientRect().bottom - window.innerHeight;
    if (left < NEAR_END) onNearEnd();
  }

  function drawOne(key) {
    const index = selection.indexOf(key);
    const item = items[index];
    let tile = tiles.get(key);
    if (!tile) {
      tile = { node: el("div", { class: "tile", role: "option", id: `tile-${number()}` }), item: null };
      tile.node.dataset.key = key;
      tiles.set(key, tile);
      element.append(tile.node);
    }
    const { node } = tile;
    if (tile.item !== item) {
      drawTile(node, item);
      node.setAttribute("aria-label", nameTile(item));
      tile.item = item;
    }
    const { x, y } = place(index);
    node.style.setProperty("transform", `translate(${x}px, ${y}px)`);
    node.setAttribute("aria-selected", String(selection.has(key)));
    node.setAttribute("aria-posinset", String(index + 1));
    node.setAttribute("aria-setsize", String(items.length));
    node.classList.toggle("focused", key === selection.focusKey);
  }

  function setItems(newest) {
    items = newest;
    selection.setKeys(items.map((item) => item.key));
    measure();
    draw();
  }

  function changed() {
    draw();
    onSelect();
  }

  /** Bring the focused tile into the window, clear of the bars that stay in it. */
  function reveal() {
    if (selection.focus < 0) return;
    const top = element.getBoundingClientRect().top + place(selection.focus).y;
    const style = getComputedStyle(element);
    const above = parseFloat(style.scrollMarginTop) || 0;
    const below = window.innerHeight - (parseFloat(style.scrollMarginBottom) || 0);
    if (top < above) window.scrollBy(0, top - above - gap);
    else if (top + height() > below) window.scrollBy(0, top + height() - below);
  }

  const page = () => columns * Math.max(1, Math.floor((window.innerHeight * 0.8) / height()));
  const steps = { left: () => -1, right: () => 1, up: () => -columns, down: () => columns, "page-up": () => -page(), "page-down": page };

  function move({ name, extend, keep }) {
    const last = items.length - 1;
    let index = name === "first" ? 0 : name === "last" ? last : selection.focus + steps[name]();
    // A step down from the row above a short last one goes to its end; else the column is kept.
    if (index > last && name === "down" && Math.floor(selection.focus / columns) < Math.floor(last / columns)) index = last;
    if ((index < 0 || index > last) && ["up", "down"].includes(name)) return;
    selection.move(index, { extend, keep });
    reveal();
    changed();
  }

  const indexAt = (node) => selection.indexOf(node?.closest?.(".tile")?.dataset.key);
  followPointer(element, {
    indexAt, selection, changed, onSwipe, onOpen,
    /** The keys of the tiles that a rectangle touches, in pixels of the grid. */
    within({ left, top, right, bottom }) {
      return items.filter((_, index) => {
        const { x, y } = place(index);
        return x < right && x + width > left && y < bottom && y + height() - gap > top;
      }).map((item) => item.key);
    },
  });

  const resized = new ResizeObserver(() => {
    measure();
    drawSoon();
  });
  resized.observe(element);
  window.addEventListener("scroll", drawSoon, { passive: true });

  return {
    element, selection, setItems, move, reveal, changed,
    itemOf: (key) => items[selection.indexOf(key)],
    get items() { return items; },
    /** The index after the last item that the window shows. */
    lastShown: () => shown(0)[1],
    setSize(newest) {
      size = newest;
      measure();
      reveal();
      draw();
    },
    close() {
      resized.disconnect();
      window.removeEventListener("scroll", drawSoon);
    },
  };
}
