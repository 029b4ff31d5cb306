"""A board that the serving processes of one server share: who they are, and how busy each is.

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

# Images in work; when the rest was written, by the clock that all processes of a machine share; its
# pid.
_PLACE = struct.Struct("=qdq")
_IN_WORK = struct.Struct("=q")
_REST = struct.Struct("=dq")
_NUM_PLACES = 256
_BYTES = _PLACE.size * _NUM_PLACES
# A process that has not written for so long is gone, or stuck.
FRESH_S = 2.0

log = logging.getLogger(__name__)


class Board:
    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError."""
        self._clock = clock
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            # Closing any descriptor of the file would release the locks: this one stays open.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, self._file)
            self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, self._folder)
            os.ftruncate(self._file, _BYTES)
            self._memory = opened.enter_context(mmap.mmap(self._file, _BYTES))
            self.mine = self._claim()
            self._clear()  # of what one left that was killed
            self._opened = opened.pop_all()

    def write_alive(self) -> None:
        at = self.mine * _PLACE.size + _IN_WORK.size
        _REST.pack_into(self._memory, at, self._clock(), os.getpid())

    def write_in_work(self, count: int) -> None:
        _IN_WORK.pack_into(self._memory, self.mine * _PLACE.size, count)

    def in_work(self, place: int) -> int:
        """What is in work there at this moment, if that process lives."""
        count: int
        (count,) = _IN_WORK.unpack_from(self._memory, place * _PLACE.size)
        return count

    def pids(self) -> dict[int, int]:
        """By their places, the other processes that live."""
        now = self._clock()
        return {
            place: pid
            for place, (_, at, pid) in enumerate(_PLACE.iter_unpack(self._memory[:]))
            # Before the machine was started anew, its clock may have been ahead.
            if place != self.mine and at > 0 and abs(now - at) < FRESH_S
        }

    def socket_path(self, place: int) -> str:
        """Where the process of a place may listen. A socket's path may not have more than about a
        hundred bytes; by way of the folder's descriptor it has few, wherever the folder is."""
        name = f"{self._path.name}.{place}.sock"
        folder = Path(f"/proc/self/fd/{self._folder}")
        return str((folder if folder.exists() else self._path.parent) / name)

    def close(self) -> None:
        self._clear()
        self._opened.close()

    def _clear(self) -> None:
        _PLACE.pack_into(self._memory, self.mine * _PLACE.size, 0, 0.0, 0)

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
        for old in folder.glob(f"{prefix}*.board*"):  # and the sockets beside it
            parent = old.name.removeprefix(prefix).split(".")[0]
            if parent.isdigit() and not _lives(int(parent)):
                old.unlink(missing_ok=True)
        return Board(folder / f"{prefix}{os.getppid()}.board")
    except OSError as error:
        log.warning("board.impossible", extra={"error": str(error)})
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
