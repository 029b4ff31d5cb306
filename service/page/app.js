// The entry point: starts each part of index.html, then polls the status for the first time.

import { startAsking } from "./ask.js";
import { startLearning } from "./learning.js";
import * as live from "./live.js";
import { ignoreStrayDrops } from "./photos.js";
import { enter } from "./session.js";
import { startTeaching } from "./teach.js";
import { startVersions } from "./versions.js";

ignoreStrayDrops();
if (await enter()) {
  startAsking();
  startTeaching();
  startLearning();
  startVersions();
  live.refresh();
}
