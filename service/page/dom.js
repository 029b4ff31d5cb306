// Creates and updates elements. Labels and file names come from people, so text becomes text nodes:
// nothing on this page uses innerHTML.

export const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`, ...) and children (elements or strings). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

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
export function fill(node, fraction) {
  node.style.setProperty("--fill", String(Math.min(1, Math.max(0, fraction))));
  if (node.getAttribute("role") === "progressbar") {
    node.setAttribute("aria-valuenow", String(Math.round(100 * fraction)));
  }
}

export function percent(fraction) {
  const whole = Math.round(100 * fraction);
  if (whole === 0 && fraction > 0) return "< 1 %";
  if (whole === 100 && fraction < 1) return "> 99 %";
  return `${whole} %`;
}

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")}\u00a0${number === 1 ? one : many}`;

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** "3 minutes ago", with the full date on hover. `refreshTimes` updates it. */
export function when(iso) {
  return el("time", { datetime: iso, title: new Date(iso).toLocaleString() }, ago(iso));
}

export function refreshTimes() {
  for (const time of document.querySelectorAll("time")) setText(time, ago(time.dateTime));
}

function ago(iso) {
  const seconds = (Date.parse(iso) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => -seconds >= size) ?? ["second", 1];
  return unit === "second" ? "just now" : relative.format(Math.round(seconds / size), unit);
}
