"""The supervisor: keeps one trainer process alive, and nothing more.

The trainer is a program of its own (`python -m training`). A crash there never touches serving, and
nothing of it is imported here. It stops when its standard input closes, a pipe from this process.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

_MAX_PAUSE_S = 30.0
_ROOT = str(Path(__file__).parents[2])

log = logging.getLogger(__name__)


class Supervisor:
    def __init__(
        self,
        command: list[str] | None = None,
        *,
        healthy_after_s: float = 60.0,
        stop_within_s: float = 10.0,
    ) -> None:
        """Pauses are reset after a trainer that lived for `healthy_after_s`. One that does not stop
        within `stop_within_s` is killed."""
        self._command = command or [sys.executable, "-P", "-m", "training", "--stop-with-parent"]
        self._healthy_after_s = healthy_after_s
        self._stop_within_s = stop_within_s
        self._child: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trainer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the trainer to stop, which hands its run back. Kill it if it does not stop."""
        self._stop.set()
        self._thread.join(timeout=self._stop_within_s + 2)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    def _run(self) -> None:
        num_failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            self._child = child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                env=_environment(),
                # Ctrl-C in the terminal reaches the server only, which then stops the trainer. And
                # the scheduler can let a session of its own yield to the workers.
                start_new_session=True,
            )
            log.info("trainer.started", extra={"child": child.pid})
            while child.poll() is None and not self._stop.wait(0.5):
                pass
            _end(child, self._stop_within_s)
            if self._stop.is_set():
                return
            if time.monotonic() - started > self._healthy_after_s:
                num_failures = 0
            pause = next_pause_s(num_failures)
            num_failures += 1
            log.error("trainer.died", extra={"exit_code": child.returncode, "again_in_s": pause})
            self._stop.wait(pause)


def next_pause_s(num_failures: int) -> float:
    """0.5 s, doubled after each failure, at most 30 s."""
    return float(min(_MAX_PAUSE_S, 0.5 * 2.0 ** min(num_failures, 10)))


def _environment() -> dict[str, str]:
    environ = dict(os.environ)
    # The trainer must be of the same release as this file. A Bento installs none, and another
    # release may be installed.
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, environ.get("PYTHONPATH")]))
    return environ


def _end(child: subprocess.Popen[bytes], within_s: float) -> None:
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(timeout=within_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
