// Creates and updates elements. Labels and file names come from people, so text becomes text nodes:
// nothing on this page uses innerHTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`, ...) and children (elements or strings). */
export const el = (tag, attributes = {}, ...children) =>
  build(document.createElement(tag), attributes, children);

/** The same of SVG. */
export const svg = (tag, attributes = {}, ...children) =>
  build(document.createElementNS(SVG, tag), attributes, children);

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...present(children));
  return node;
}

const present = (children) =>
  children.flat().filter((child) => child !== null && child !== undefined && child !== false);

/** Replace what is in a node; children as of `el`. */
export const put = (node, ...children) => node.replaceChildren(...present(children));

/** Write only changed text, so that live regions speak once and a button keeps its focus. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Show a line, or hide it if there is no text. */
export function say(node, text) {
  setText(node, text ?? "");
  node.hidden = !text;
}

/** Fill a bar, 0 to 1. The stylesheet draws it, as the content policy forbids inline styles. */
export function fill(node, fraction, property = "--fill") {
  node.style.setProperty(property, String(Math.min(1, Math.max(0, fraction))));
  if (node.getAttribute("role") === "progressbar") {
    node.setAttribute("aria-valuenow", String(Math.round(100 * fraction)));
  }
}

/** Run `work` once for a button at a time. `disabled` would take the focus away. */
export async function busy(button, work) {
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true";
  try {
    await work();
  } finally {
    button.ariaDisabled = "false";
  }
}
