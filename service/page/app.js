// The entry point: signs in, then starts the stream, the outbox and the views.

import { startClasses } from "./classes.js";
import { ignoreStrayDrops } from "./components/files.js";
import { byId } from "./dom.js";
import { refreshTimes } from "./format.js";
import { startInputs } from "./inputs.js";
import { startOutbox } from "./outbox.js";
import { addRoute, remount, startRouter } from "./router.js";
import { enter } from "./session.js";
import { showPlace, startShell } from "./shell.js";
import { subscribe } from "./state.js";
import { startStream } from "./stream.js";
import * as data from "./views/data.js";
import * as diff from "./views/diff.js";
import * as example from "./views/example.js";
import * as learn from "./views/learn.js";
import * as review from "./views/review.js";
import * as tryIt from "./views/try.js";
import * as versions from "./views/versions.js";

const MINUTE_MS = 60_000;

addRoute("try", tryIt);
addRoute("review", review);
addRoute("learn", learn);
addRoute("versions", versions);
addRoute("versions/:a/diff/:b", diff);
addRoute("data", data);
addRoute("example/:id", example);

ignoreStrayDrops();
await enter();
startInputs();
startShell();
startClasses();
startOutbox();
startRouter(byId("view"), showPlace);
subscribe("session", remount); // another key may have another role
subscribe("input", remount);
startStream();
setInterval(refreshTimes, MINUTE_MS);
