// Making a version the champion: forward, or back to an earlier one.

import * as api from "../../api/versions.js";
import { busy } from "../../dom.js";
import { refresh } from "../../stream.js";
import { confirm } from "../dialog.js";

/** Asks first. `report(text)` shows what went wrong, or null. */
export function promote(version, button, report) {
  return busy(button, async () => {
    const { version: number, gate } = version;
    const heldBack = gate.promote === false ? " The gate held it back." : "";
    const isSure = await confirm(`Make version ${number} the champion?`,
      `Version ${number} will make every prediction from now on, without a pause.${heldBack}`,
      `Use version ${number}`);
    if (!isSure) return;
    const text = button.textContent;
    button.textContent = "Promoting…";
    report(null);
    try {
      const { etag } = await api.champion();
      const answer = await api.promote(number, etag);
      if (!answer.isLive) report(`Version ${number} is still loading; it becomes champion on its own.`);
    } catch (problem) {
      report(problem.message);
    }
    button.textContent = text;
    refresh();
  });
}
