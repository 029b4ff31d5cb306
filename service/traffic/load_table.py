"""The load table of a server: which of its workers live, and how many images each has in flight.

It is a small file that all workers map into memory. Each worker writes one row of it, which it
claims with a lock. The kernel releases the lock when the process ends, however it ends. Rows
without a recent heartbeat do not count, so nothing has to be cleaned up.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from core.system.files import allocate

# Images in flight; time of the heartbeat, by the clock that all processes of a machine share; pid.
_ROW = struct.Struct("=qdq")
_IN_FLIGHT = struct.Struct("=q")
_HEARTBEAT = struct.Struct("=dq")
_NUM_ROWS = 256
_NUM_BYTES = _ROW.size * _NUM_ROWS
# A worker whose heartbeat is older has ended, or is stuck.
FRESH_S = 2.0
_OLD_S = 3600.0

log = logging.getLogger(__name__)


class LoadTable:
    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError."""
        self._clock = clock
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            # Closing any descriptor of the file would release the locks, so this one stays open.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, self._file)
            self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, self._folder)
            allocate(path, _NUM_BYTES)
            self._memory = opened.enter_context(mmap.mmap(self._file, _NUM_BYTES))
            self.own_row = self._claim()
            self._clear()  # what a killed worker has left
            self._opened = opened.pop_all()

    def write_heartbeat(self) -> None:
        at = self.own_row * _ROW.size + _IN_FLIGHT.size
        _HEARTBEAT.pack_into(self._memory, at, self._clock(), os.getpid())

    def write_in_flight(self, num_images: int) -> None:
        _IN_FLIGHT.pack_into(self._memory, self.own_row * _ROW.size, num_images)

    def in_flight(self, row: int) -> int:
        num_images: int
        (num_images,) = _IN_FLIGHT.unpack_from(self._memory, row * _ROW.size)
        return num_images

    def peers(self) -> dict[int, int]:
        """The pids of the other live workers, by row."""
        now = self._clock()
        return {
            row: pid
            for row, (_, at, pid) in enumerate(_ROW.iter_unpack(self._memory[:]))
            # The clock starts anew with the machine, so an old heartbeat may lie in the future.
            if row != self.own_row and at > 0 and abs(now - at) < FRESH_S
        }

    def socket_path(self, row: int) -> str:
        """Where the worker of a row listens. The path of a socket is limited to about 100 bytes, so
        it goes through the descriptor of the folder where that is possible."""
        name = f"{self._path.name}.{row}.sock"
        folder = Path(f"/proc/self/fd/{self._folder}")
        return str((folder if folder.exists() else self._path.parent) / name)

    def close(self) -> None:
        self._clear()
        self._opened.close()

    def _clear(self) -> None:
        _ROW.pack_into(self._memory, self.own_row * _ROW.size, 0, 0.0, 0)

    def _claim(self) -> int:
        for row in range(_NUM_ROWS):
            with contextlib.suppress(BlockingIOError, PermissionError):
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, _ROW.size, row * _ROW.size)
                return row
        raise OSError(f"more than {_NUM_ROWS} workers share one load table")


def open_load_table(folder: Path, pid_space: str) -> LoadTable | None:
    """The table that all workers with this parent process share; None if there can be none.

    The space of the pids is part of the name: containers may share the folder, and use the same
    pids.
    """
    prefix = f"{pid_space}-"
    try:
        for table in folder.glob("*.load"):
            if _is_abandoned(table, prefix):
                for old in (table, *folder.glob(f"{glob.escape(table.name)}.*")):  # its sockets
                    old.unlink(missing_ok=True)
        return LoadTable(folder / f"{prefix}{os.getppid()}.load")
    except OSError as error:
        log.warning("load_table.unavailable", extra={"error": str(error)})
        return None


def _is_abandoned(table: Path, prefix: str) -> bool:
    """Whether its server has ended. Of another container or an earlier boot, only the locks tell,
    and those of a table that is being made come a moment later."""
    if table.name.startswith(prefix):
        parent = table.name.removeprefix(prefix).removesuffix(".load")
        return parent.isdigit() and not _is_alive(int(parent))
    is_old = abs(time.time() - table.stat().st_mtime) > _OLD_S
    return is_old and not _is_locked(table)


def _is_locked(table: Path) -> bool:
    with table.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # a process of another user
    return True
