// Data: the classes, the map, and the way in and out.

import { makeClassTable } from "../components/data/class_table.js";
import { exportPanel } from "../components/data/export.js";
import { heading, panel } from "../components/heading.js";
import { makeImport } from "../components/data/import.js";
import { makeMap } from "../components/data/map.js";
import { el } from "../dom.js";
import { may } from "../session.js";
import { subscribe } from "../state.js";

export const title = "Data";
export const role = "label";

const SETTLE_MS = 400; // labels that come together are read once

export function mount(root) {
  const table = makeClassTable(reload);
  const map = makeMap();
  const imports = may("train") ? makeImport(reload) : null;

  root.append(heading(title),
    el("div", { class: "data" },
      panel("Classes", table.element),
      panel("Map", map.element),
      imports && panel("Import", imports.element),
      may("train") && exportPanel()));

  function reload() {
    table.load();
  }

  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(reload, SETTLE_MS);
  };
  let version = null;
  const stops = [
    subscribe("newestLabel", soon),
    subscribe("status", (status) => {
      if (!status || status.version === version) return;
      const isFirst = version === null;
      version = status.version;
      if (isFirst) return;
      soon();
      map.load();
    }),
  ];
  table.load();
  map.load();
  imports?.load();

  return () => {
    clearTimeout(timer);
    for (const stop of stops) stop();
    map.close();
    imports?.close();
  };
}
