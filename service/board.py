"""A board that the serving processes of one server share: how busy each of them is.

A small file, mapped into memory by all of them: a place for each process, which only it writes. The
places are claimed with locks that the kernel releases when a process ends, however it ends. What
was not written lately does not count, so nothing has to be cleared away.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

# When it was written, by the clock that all processes of a machine share, and what.
_PLACE = struct.Struct("=dd")
_NUM_PLACES = 256
_BYTES = _PLACE.size * _NUM_PLACES
# A process that has not written for so long is gone, or stuck.
FRESH_S = 2.0


class Board:
    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError."""
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        # Closing any descriptor of the file would release the locks: this one stays open.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(self._file, _BYTES)
            self._memory = mmap.mmap(self._file, _BYTES)
            self._mine = self._claim()
        except OSError:
            os.close(self._file)
            raise

    def write(self, value: float) -> None:
        _PLACE.pack_into(self._memory, self._mine * _PLACE.size, self._clock(), value)

    def others(self) -> list[float]:
        """What the other processes that live have written last."""
        now = self._clock()
        return [
            value
            for place, (at, value) in enumerate(_PLACE.iter_unpack(self._memory[:]))
            # Before the machine was started anew, its clock may have been ahead.
            if place != self._mine and at > 0 and abs(now - at) < FRESH_S
        ]

    def close(self) -> None:
        _PLACE.pack_into(self._memory, self._mine * _PLACE.size, 0.0, 0.0)
        self._memory.close()
        os.close(self._file)

    def _claim(self) -> int:
        for place in range(_NUM_PLACES):
            with contextlib.suppress(BlockingIOError, PermissionError):
                fcntl.lockf(
                    self._file,
                    fcntl.LOCK_EX | fcntl.LOCK_NB,
                    _PLACE.size,
                    place * _PLACE.size,
                )
                return place
        raise OSError(f"more than {_NUM_PLACES} processes share one board")


def board_of_server(folder: Path, host: str) -> Board:
    """The one that all serving processes with the same parent share. Raises OSError.

    The host is part of the name: containers may share the folder, and number processes alike.
    """
    prefix = f"{host}-"
    for old in folder.glob(f"{prefix}*.board"):
        parent = old.stem.removeprefix(prefix)
        if parent.isdigit() and not _lives(int(parent)):
            old.unlink(missing_ok=True)
    return Board(folder / f"{prefix}{os.getppid()}.board")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
