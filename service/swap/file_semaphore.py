"""Turns: few serving processes of a machine open a backbone at once.

A promotion reaches all of them in the same tenth of a second. If each opened its backbone then, on
every core something would be in the way of those who predict; in turns, the other cores go on.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

# Whoever has the turn for so long is stuck; the others do not wait for it.
_WITHIN_S = 2.0
_LOOK_EVERY_S = 0.01

log = logging.getLogger(__name__)


class Turns:
    def __init__(self, path: Path, at_once: int) -> None:
        """`path` is the beginning of the names of the files that are locked."""
        self._path = path
        self._at_once = at_once

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait until fewer than `at_once` are at it. The kernel ends the turn of a process that
        dies. Where there can be no locks, all go at once."""
        with contextlib.ExitStack() as locked:
            try:
                self._take(locked)
            except OSError as error:
                log.warning("turns.impossible", extra={"error": str(error)})
            yield

    def _take(self, locked: contextlib.ExitStack) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files = []
        for number in range(self._at_once):
            path = f"{self._path}.{number}.turn"
            files.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            locked.callback(os.close, files[-1])
        until = time.monotonic() + _WITHIN_S
        while not any(map(_is_locked, files)) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
