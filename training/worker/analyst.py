"""The analyst: has the newest version analysed while the trainer has nothing to do.

A child process does it at idle priority. When a label comes or a run waits, the child is killed, so
it delays no run: an analysis is tried again once the trainer is idle. It writes one transaction, at
its end, so that killing it loses nothing else.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from core.registry.latest import Latest
from core.settings import Settings
from core.store.store import Store, open_store
from core.system.background import run_idle
from core.system.priority import session_yields
from training.analysis.analyse import analyse_newest
from training.analysis.subject import find_version
from training.recipe import load_recipe

# A pause this long in labels and runs, since a person who labels goes on within a moment.
_IDLE_FOR_S = 1.0
# Between two looks for something to analyse, as an erasure deletes analyses.
_LOOK_EVERY_S = 30.0
# An analysis may take a sixth of the time.
_REST = 5.0
# Labels that keep coming hold it up no longer than that.
_PATIENCE_S = 300.0
_PAUSE_AFTER_FAILURE_S = 60.0
_MAX_DOUBLINGS = 6
_LOWEST_NICE = 19

log = logging.getLogger(__name__)


class Analyst:
    """The trainer's side. Only `start` lets it start child processes."""

    def __init__(
        self,
        store: Store,
        command: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        # -P: import the code that runs now, not what lies in the current folder.
        self._command = command or [
            *(sys.executable, "-P", "-m", "training"),
            *("--one-analysis", "--stop-with-parent"),
        ]
        self._clock = clock
        self._is_started = False
        self._child: subprocess.Popen[bytes] | None = None
        self._began_at = 0.0
        # The newest label and the runs, when they changed last.
        self._work: tuple[int, ...] = ()
        self._busy_at = clock()
        # Since when a version waits to be analysed; None: none does, or it is unknown.
        self._waiting_since: float | None = None
        self._newest_version: int | None = None
        self._looked_at = -_LOOK_EVERY_S
        self._not_before = 0.0
        self._num_failures = 0

    def start(self) -> None:
        self._is_started = True

    def poll(self, latest: Latest) -> None:
        """Called often. Start the child, end it, or note that it has ended. Raises StoreError."""
        if not self._is_started:
            return
        now = self._clock()
        if latest.work != self._work:
            self._work, self._busy_at = latest.work, now
        self._reap(now)
        is_free = not latest.has_unfinished_runs and now - self._busy_at >= _IDLE_FOR_S
        is_patient = self._waiting_since is None or now - self._waiting_since < _PATIENCE_S
        if self._child is not None:
            if not is_free and is_patient:
                self._kill()
        elif (is_free or not is_patient) and now >= self._not_before and self._is_due(latest, now):
            self._begin(now)

    def stop(self) -> None:
        self._kill()

    def _is_due(self, latest: Latest, now: float) -> bool:
        is_new = latest.newest_version != self._newest_version
        if is_new or self._waiting_since is not None or now - self._looked_at >= _LOOK_EVERY_S:
            self._newest_version, self._looked_at = latest.newest_version, now
            with self._store.db.read() as conn:
                is_waiting = find_version(conn) is not None
            if not is_waiting:
                self._waiting_since = None
            elif self._waiting_since is None:
                self._waiting_since = now
            return is_waiting
        return False

    def _begin(self, now: float) -> None:
        self._began_at = now
        self._child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            # It yields as a scheduling group of its own, and Ctrl-C reaches the trainer only.
            start_new_session=True,
        )

    def _reap(self, now: float) -> None:
        child = self._child
        if child is None or child.poll() is None:
            return
        self._child = None
        _close(child)
        if child.returncode != 0:
            log.error("analysis.died", extra={"exit_code": child.returncode})
            self._not_before = now + _PAUSE_AFTER_FAILURE_S * 2**self._num_failures
            self._num_failures = min(self._num_failures + 1, _MAX_DOUBLINGS)
            return
        self._num_failures = 0
        self._waiting_since = None
        self._not_before = now + _REST * (now - self._began_at)

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            _close(child)


def _close(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()


def do_one(settings: Settings) -> None:
    """The child's side. Raises InvalidRecipe, NotEnoughLabels, ArtifactError, StoreError."""
    session_yields(_LOWEST_NICE)
    recipe = load_recipe(settings.recipe)
    store = open_store(settings, migrate=False)
    try:
        store.db.follow_clock()
        run_idle(lambda: analyse_newest(store, recipe))
    finally:
        store.db.close()
