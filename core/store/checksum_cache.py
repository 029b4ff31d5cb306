"""Which files were found whole on this machine a moment ago.

Each worker reads the files of a version before it serves it. One that another process has just
read, and that nobody has touched since, is not read again: of what a worker does to open a new
backbone, checking its file would be a third. Only for a moment, as disks forget, too.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from core.system.files import write_whole

# A promotion has reached every worker by then.
_FOR_S = 60.0
# More than the files of a few versions are not worth looking through.
_MOST = 16


class Verified:
    """A small file that the processes of a machine share. Where it cannot be had, every file is
    read."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def has(self, digest: str, found: os.stat_result) -> bool:
        """Whether it was noted, and not touched since."""
        return _mark(digest, found) in self._fresh()

    def note(self, digest: str, found: os.stat_result) -> None:
        """`found` is from before it was read: what is done to the file meanwhile counts as done
        since."""
        with contextlib.suppress(OSError):
            lines = [f"{mark} {at}" for mark, at in self._fresh().items()]
            lines = [*lines[1 - _MOST :], f"{_mark(digest, found)} {self._clock()}"]
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, "\n".join(lines).encode())

    def _fresh(self) -> dict[str, float]:
        try:
            lines = self._path.read_text().splitlines()
            noted = {mark: float(at) for mark, _, at in (line.rpartition(" ") for line in lines)}
        except (OSError, ValueError):
            return {}
        now = self._clock()
        return {mark: at for mark, at in noted.items() if 0 <= now - at < _FOR_S}


def _mark(digest: str, found: os.stat_result) -> str:
    """Whatever is done to a file, its `st_ctime` tells."""
    where = f"{found.st_dev}:{found.st_ino}"
    return f"{digest} {where} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
