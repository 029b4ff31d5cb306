// The pointer on the grid: click, drag a rectangle, and swipe with a finger.

import { el } from "../../dom.js";

const DRAG_FROM = 6; // pixels until a press is a drag
const TAP = 12; // pixels that a finger may move in a tap
const SWIPE = 72; // pixels to the side that are a swipe
const EDGE = 48; // pixels from the window's edge where a drag scrolls

export function followPointer(element, { indexAt, selection, changed, onSwipe, onOpen, within }) {
  let press = null; // {x, y, node, type, base, frame}

  const inGrid = ({ clientX, clientY }) => {
    const box = element.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    const { x, y } = inGrid(event);
    const adds = event.ctrlKey || event.metaKey || event.shiftKey;
    press = { x, y, clientX: event.clientX, node: event.target.closest(".tile"), type: event.pointerType, base: adds ? selection.selected() : [], frame: null };
    if (event.pointerType === "mouse") {
      event.preventDefault(); // no drag of the image, no selection of text
      element.focus({ preventScroll: true });
    }
  });

  element.addEventListener("pointermove", (event) => {
    if (!press) return;
    if (press.type === "touch") swipe(event);
    else drag(event);
  });

  element.addEventListener("pointerup", (event) => {
    if (!press) return;
    const { frame, node, way, isPulled } = press;
    end();
    if (frame) return;
    if (way) onSwipe(node.dataset.key, way);
    else if (!isPulled) click(event, node);
  });
  // The browser scrolls with the finger from here on.
  element.addEventListener("pointercancel", end);
  element.addEventListener("dblclick", (event) => {
    const node = event.target.closest(".tile");
    if (node) onOpen(node.dataset.key);
  });

  function click(event, node) {
    const index = indexAt(node);
    if (index < 0) selection.clear();
    else {
      const toggle = event.ctrlKey || event.metaKey || event.pointerType === "touch";
      selection.choose(index, { extend: event.shiftKey, toggle });
    }
    changed();
  }

  function drag(event) {
    const { x, y } = inGrid(event);
    if (!press.frame) {
      if (Math.hypot(x - press.x, y - press.y) < DRAG_FROM) return;
      press.frame = el("div", { class: "rectangle", role: "presentation" });
      element.append(press.frame);
      element.setPointerCapture(event.pointerId);
    }
    if (event.clientY > window.innerHeight - EDGE) window.scrollBy(0, 18);
    else if (event.clientY < EDGE) window.scrollBy(0, -18);
    const box = { left: Math.min(x, press.x), top: Math.min(y, press.y), right: Math.max(x, press.x), bottom: Math.max(y, press.y) };
    const style = press.frame.style;
    style.transform = `translate(${box.left}px, ${box.top}px)`;
    style.width = `${box.right - box.left}px`;
    style.height = `${box.bottom - box.top}px`;
    selection.replace([...press.base, ...within(box)]);
    changed();
  }

  function swipe(event) {
    if (!press.node) return;
    const moved = event.clientX - press.clientX;
    press.isPulled ||= Math.abs(moved) > TAP;
    press.way = Math.abs(moved) < SWIPE ? null : moved > 0 ? "right" : "left";
    press.node.style.setProperty("--pulled", `${moved}px`);
    press.node.classList.add("pulled");
    press.node.classList.toggle("accepts", press.way === "right");
    press.node.classList.toggle("rejects", press.way === "left");
  }

  function end() {
    press?.frame?.remove();
    press?.node?.classList.remove("pulled", "accepts", "rejects");
    press?.node?.style.removeProperty("--pulled");
    press = null;
  }
}
