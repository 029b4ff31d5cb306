"""Long runs: minutes of training, in a child process at idle priority.

Predictions and quick runs keep their speed, and a crash ends only the child.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from core import leases, runs
from core.ids import new_id
from core.runs import Run
from core.settings import Settings
from core.store.store import open_store
from core.system.priority import session_yields
from training.pipeline.context import open_context
from training.pipeline.run import attempt
from training.recipe import load_recipe

_STOP_WITHIN_S = 10.0
_LOWEST_NICE = 19
_PAUSE_AFTER_CRASH_S = 5.0

log = logging.getLogger(__name__)


class LongRuns:
    """The trainer's side: keeps a child process while there is a long run to do."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        # -P: import the code that runs now, not what lies in the current folder.
        self._command = command or [
            sys.executable,
            "-P",
            "-m",
            "training",
            "--one-long-run",
            "--stop-with-parent",
        ]
        self._child: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0

    def poll(self, unfinished: Sequence[Run], now: float) -> None:
        """Start a child if a long run waits, or if the child that had it died."""
        child = self._child
        if child is not None:
            if child.poll() is None:
                return
            self._child = None
            _close(child)
            if child.returncode != 0:
                log.error("long_run.died", extra={"exit_code": child.returncode})
                self._not_before = now + _PAUSE_AFTER_CRASH_S
        if not 0 < self._not_before - now < _PAUSE_AFTER_CRASH_S and any(
            run.tier in runs.LONG and leases.is_to_do(run, now) for run in unfinished
        ):
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                # It yields as a scheduling group of its own, and Ctrl-C reaches the trainer only.
                start_new_session=True,
            )

    def stop(self) -> None:
        """Let the child hand its run back and end. Kill it if it does not end in time."""
        child, self._child = self._child, None
        if child is None:
            return
        _close(child)
        try:
            child.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _close(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()


def do_one(settings: Settings, stop: threading.Event) -> None:
    """The child's side: claim one long run and do it. Raises InvalidRecipe, StoreError."""
    _yield()
    recipe = load_recipe(settings.recipe)
    store = open_store(settings)
    context = open_context(store, recipe, settings, new_id())
    with store.db.write(durable=False) as conn:
        run = leases.claim(conn, context.owner, store.db.clock(), runs.LONG)
    if run is not None:
        attempt(context, run, stop.is_set)
    store.db.close()


def _yield() -> None:
    """Lower the priority of the process, for systems without idle threads."""
    session_yields(_LOWEST_NICE)
    if sys.platform != "linux" and hasattr(os, "nice"):
        os.nice(_LOWEST_NICE)
