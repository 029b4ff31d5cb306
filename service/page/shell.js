// What stands around every view: navigation, figures, the current run, and the connection.

import { announce, toast } from "./components/toast.js";
import { byId, el, fill, put, say, setText } from "./dom.js";
import { count, whole } from "./format.js";
import { icon } from "./icons.js";
import { kind } from "./inputs.js";
import { address } from "./router.js";
import { may } from "./session.js";
import { get, subscribe, watch } from "./state.js";

const PLACES = [
  ["try", "Try", "predict"],
  ["review", "Review", "label"],
  ["learn", "Learn", "label"],
  ["versions", "Versions", "predict"],
  ["data", "Data", "label"],
];

let version = null;

export function startShell() {
  watch("session", showPlaces);
  subscribe("input", showPlaces);
  watch("status", showStatus);
  subscribe("connection", showConnection);
  subscribe("problem", showConnection);
  subscribe("waiting", showWaiting);
  subscribe("isHeldUp", showWaiting);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the part after # is the router's
    byId("view").focus();
  });
}

function showPlaces() {
  const places = PLACES.filter(([, , role]) => may(role));
  put(byId("views"), places.map(([path, name]) => el("a", { href: address(path), "data-place": path }, icon(path === "try" ? kind().icon : path), el("span", {}, name))));
}

/** Called by the router with each view. */
export function showPlace(path, title) {
  const place = path.split("/")[0];
  for (const link of byId("views").children) {
    if (link.dataset.place === place) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${title} · Evergreen`;
}

function showStatus(status) {
  if (!status) return;
  const { labels } = status;
  showConnection();
  setText(byId("figure-classes"), whole(status.classes));
  if (labels) {
    const numTrained = Object.values(labels.examples).reduce((sum, n) => sum + n, 0);
    setText(byId("figure-trained"), whole(numTrained));
    setText(byId("figure-held-out"), whole(labels.held_out));
    setText(byId("figure-waiting"), whole(labels.waiting));
  }
  setText(byId("workers"), describeWorkers(status));
  const run = status.runs.find((each) => each.state === "running") ?? status.runs[0];
  byId("run-state").hidden = !run;
  if (run) {
    setText(byId("run-text"), run.state === "running" ? `Learning: ${run.step}` : "A run is about to start");
    fill(byId("run-bar"), run.progress);
  }
  if (version !== null && version !== status.version) toast(`Version ${status.version} is live`);
  version = status.version;
}

let wasLive = true;

function showConnection() {
  const connection = get("connection");
  const status = get("status");
  const isLive = connection === "live";
  byId("live").classList.toggle("off", !isLive);
  byId("live").title = get("problem")?.message ?? "";
  if (isLive) setText(byId("live-text"), status ? `Version ${status.version} is live` : "Connecting…");
  else if (!status && connection === "reconnecting") setText(byId("live-text"), "Connecting…");
  else setText(byId("live-text"), connection === "reconnecting" ? "Reconnecting…" : "Not reachable");
  if (wasLive && connection === "offline") announce("The service does not respond");
  if (!wasLive && isLive) announce("The service responds again");
  if (connection !== "reconnecting") wasLive = isLive;
  showWaiting();
}

function showWaiting() {
  const num = get("waiting");
  const isHeldUp = get("isHeldUp") || get("connection") !== "live";
  say(byId("outbox"), num && isHeldUp ? `${count(num, "label")} ${num === 1 ? "waits" : "wait"} for the server` : null);
}

function describeWorkers({ workers, version: current }) {
  const num = count(workers.length, "process", "processes");
  const behind = workers.filter((worker) => worker.version !== current).length;
  const failing = workers.flatMap((worker) => worker.problems);
  if (failing.length) return `${num}; could not load: ${failing[0]}`;
  return behind ? `${num}, ${behind} switching to version ${current}` : `${num}, all on version ${current}`;
}
