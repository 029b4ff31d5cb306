"""Long runs: minutes of training in a process of their own, at idle priority, so that predictions
and quick runs keep their pace, and a crash takes nothing with it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
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
_LEAST = 19
_PAUSE_AFTER_CRASH_S = 5.0

log = logging.getLogger(__name__)


class LongRuns:
    """The trainer's side: a child while there is a long run to do."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        # -P: what is imported comes from where this came from, not from the current folder.
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

    def look(self, unfinished: Sequence[Run], now: float) -> None:
        """Start a child if a long run waits, or was left by one that died."""
        child = self._child
        if child is not None:
            if child.poll() is None:
                return
            self._child = None
            _close(child)
            if child.returncode != 0:
                log.error("long_run.died", extra={"exit_code": child.returncode})
                self._not_before = now + _PAUSE_AFTER_CRASH_S
        if now >= self._not_before and any(
            run.tier in runs.LONG and leases.is_to_do(run, now) for run in unfinished
        ):
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                start_new_session=True,  # which yields; and Ctrl-C is for the trainer
            )

    def stop(self) -> None:
        """The child hands its run back and ends; it is killed if it does not."""
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
    """The child's side: claim one long run, do it, and return. Raises InvalidRecipe, StoreError."""
    _yield()
    recipe = load_recipe(settings.recipe)
    store = open_store(settings)
    context = open_context(store, recipe, settings, new_id())
    with store.db.write(durable=False) as conn:
        run = leases.claim(conn, context.owner, time.time(), runs.LONG)
    if run is not None:
        attempt(context, run, stop.is_set)
    store.db.close()


def _yield() -> None:
    """What is calculated is idle anyway; where threads cannot be, all of the process is nice."""
    session_yields(_LEAST)
    if sys.platform != "linux" and hasattr(os, "nice"):
        os.nice(_LEAST)
