"""A board that the serving processes of one server share: how busy each of them is, on average and
at this moment.

A small file, mapped into memory by all of them: a place for each process, which only it writes. The
places are claimed with locks that the kernel releases when a process ends, however it ends. What
was not written lately does not count, so nothing has to be cleared away.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# When the average was written, by the clock that all processes of a machine share, the average, and
# how many predictions run and wait.
_PLACE = struct.Struct("=dddd")
_AVERAGE = struct.Struct("=dd")
_NOW = struct.Struct("=dd")
_NUM_PLACES = 256
_BYTES = _PLACE.size * _NUM_PLACES
# A process that has not written for so long is gone, or stuck.
FRESH_S = 2.0

log = logging.getLogger(__name__)


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
        _AVERAGE.pack_into(self._memory, self._mine * _PLACE.size, self._clock(), value)

    def tell(self, running: int, waiting: int) -> None:
        """So many predictions run here now, and so many wait."""
        place = self._mine * _PLACE.size
        _NOW.pack_into(self._memory, place + _AVERAGE.size, running, waiting)

    def elsewhere(self) -> list[tuple[int, int]]:
        """How many run and wait in each of the other processes that live."""
        return [(int(running), int(waiting)) for _, _, running, waiting in self._living().tolist()]

    def others(self) -> list[float]:
        """What the other processes that live have written last."""
        averages: list[float] = self._living()[:, 1].tolist()
        return averages

    def _living(self) -> NDArray[np.float64]:
        """The places of the others that were written lately, shape [processes, 4]."""
        places = np.frombuffer(self._memory[:], np.float64).reshape(_NUM_PLACES, 4)
        at = places[:, 0]
        # Before the machine was started anew, its clock may have been ahead.
        lives = (at > 0) & (np.abs(self._clock() - at) < FRESH_S)
        lives[self._mine] = False
        return places[lives]

    def close(self) -> None:
        _PLACE.pack_into(self._memory, self._mine * _PLACE.size, 0.0, 0.0, 0.0, 0.0)
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


def board_of_server(folder: Path, host: str) -> Board | None:
    """The one that all serving processes with the same parent share; None where it cannot be.

    The host is part of the name: containers may share the folder, and number processes alike.
    """
    prefix = f"{host}-"
    try:
        for old in folder.glob(f"{prefix}*.board"):
            parent = old.stem.removeprefix(prefix)
            if parent.isdigit() and not _lives(int(parent)):
                old.unlink(missing_ok=True)
        return Board(folder / f"{prefix}{os.getppid()}.board")
    except OSError as error:
        log.warning("spread.impossible", extra={"error": str(error)})
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
