// Where the page begins: each part finds its place in index.html, then the first look is taken.

import { startAsking } from "./ask.js";
import { startLearning } from "./learning.js";
import * as live from "./live.js";
import { ignoreStrayDrops } from "./photos.js";
import { startTeaching } from "./teach.js";
import { startVersions } from "./versions.js";

ignoreStrayDrops();
startAsking();
startTeaching();
startLearning();
startVersions();
live.refresh();
