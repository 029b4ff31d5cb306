// The views of the page by the part of the address after #, so that back, forward and links work.
//
// A view is a module of views/ with
//
//   export const title = "Review";              // or a function of the parameters
//   export function mount(root, params) {       // params: of the path and of the query, all strings
//     root.append(heading(title), ...);         // the heading gets the focus: components/heading.js
//     return () => {};                          // undoes what mount began: subscriptions, timers
//   }
//
// `root` is empty, and is emptied after unmount. A view that can take other parameters without
// being mounted again returns {unmount, update(params)} instead: back and forward then call update.
// A view that needs a role has `export const role = "label"`; others are not led there.
//
//   #/review?by=suspect&class=cat      navigate("review", {by: "suspect", class: "cat"})
//   #/versions/3/diff/4                navigate("versions/3/diff/4")

const routes = []; // {pattern: ["versions", ":a", "diff", ":b"], view}
let fallback = "try";
let shown = null; // {view, unmount, update}
let root = null;
let onShow = () => {};

export function addRoute(path, view) {
  routes.push({ pattern: path.split("/"), view });
}

/** Show the view of the address in `element`, and of each later one. `whenShown(path, title)`. */
export function startRouter(element, whenShown, unknown = "try") {
  root = element;
  onShow = whenShown;
  fallback = unknown;
  window.addEventListener("hashchange", () => show(true));
  show(false);
}

/** Go to a path; parameters that are null, undefined or "" are left out. */
export function navigate(path, params = {}) {
  location.hash = address(path, params);
}

/** The parameters of the address, of the path and of the query. */
export const params = () => match().params;

/** Change the parameters of the query without another step of the history, or a new mount. */
export function replaceParams(changed) {
  history.replaceState(null, "", address(parse().path, changed));
}

/** For links: the address of a path with parameters. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => ![null, undefined, ""].includes(value));
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/** Mount the view again: its session or role has changed. */
export const remount = () => show(false, true);

function parse() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { path: path.replace(/\/+$/, ""), query: Object.fromEntries(new URLSearchParams(query)) };
}

function match() {
  const { path, query } = parse();
  const steps = path.split("/");
  for (const { pattern, view } of routes) {
    if (pattern.length !== steps.length) continue;
    if (!pattern.every((part, i) => part === steps[i] || (part.startsWith(":") && /^\d+$/.test(steps[i])))) continue;
    const named = pattern.flatMap((part, i) => (part.startsWith(":") ? [[part.slice(1), steps[i]]] : []));
    return { path, view, params: { ...query, ...Object.fromEntries(named) } };
  }
  return { path: fallback, view: routes.find(({ pattern }) => pattern.join("/") === fallback).view, params: {} };
}

function show(takesFocus, again = false) {
  const { path, view, params: given } = match();
  const title = typeof view.title === "function" ? view.title(given) : view.title;
  if (!again && shown?.view === view && shown.update) {
    shown.update(given);
    onShow(path, title, view);
    return;
  }
  shown?.unmount();
  root.replaceChildren();
  const mounted = view.mount(root, given);
  shown = { view, ...(typeof mounted === "function" ? { unmount: mounted } : mounted) };
  onShow(path, title, view);
  if (!takesFocus) return;
  window.scrollTo(0, 0);
  root.querySelector("h1")?.focus({ preventScroll: true });
}
