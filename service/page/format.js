// Numbers, times and names as people read them.

import { el, setText } from "./dom.js";

export function percent(fraction) {
  const whole = Math.round(100 * fraction);
  if (whole === 0 && fraction > 0) return "< 1 %";
  if (whole === 100 && fraction < 1) return "> 99 %";
  return `${whole} %`;
}

/** "+3.2 points": a difference of two shares. */
export function points(difference) {
  const value = 100 * difference;
  const sign = value > 0 ? "+" : value < 0 ? "−" : "±";
  return `${sign}${Math.abs(value).toFixed(1)}`;
}

export const whole = (number) => number.toLocaleString("en");

export const count = (number, one, many = `${one}s`) =>
  `${whole(number)}\u00a0${number === 1 ? one : many}`;

/** "8 s", "4 min", "1 h 20 min". */
export function duration(seconds) {
  if (seconds < 0.95) return "under 1 s";
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

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

/** Whether two names are spellings of one class. The server decides it more strictly. */
export function isSameClass(one, other) {
  const fold = (name) => name.normalize("NFKC").toLowerCase().trim().replace(/\s+/g, " ");
  return fold(one) === fold(other);
}

/** The label that keeps an image out of training: it shows none of the classes. */
export const NONE_OF_THESE = "none of these";
