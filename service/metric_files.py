"""Metric files: the client library maps one file of each kind of metric into a process's memory.

The library leaves holes in them, and on a full disk writing to a hole kills the process. So a file
is allocated whole here. Where there is no room, its metrics are kept in memory instead, and
`/metrics` shows those of the process that answers.
"""

from __future__ import annotations

import logging
import mmap
import os
from pathlib import Path

from prometheus_client import mmap_dict, values

from core.system.files import allocate

_FIRST_BYTES = 1 << 16
# Beside its key, an entry has a length, padding and two numbers.
_ENTRY_BYTES = 4 + 8 + 16
_NEW = ".new"

log = logging.getLogger(__name__)


class MetricFile(mmap_dict.MmapedDict):
    """As its base class stores it, so that any process can read the file."""

    # Whether a file of this process could not be allocated.
    is_in_memory = False

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            if not read_mode:
                _create(Path(filename))
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            self._f = None  # type: ignore[assignment]
            self._capacity = _FIRST_BYTES
            self._used = 8
            self._positions: dict[str, int] = {}
            self._m = self._in_memory(error)

    def _init_value(self, key: str) -> None:
        needed = self._used + _ENTRY_BYTES + len(key.encode())
        if needed > self._capacity:
            self._grow(needed)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, needed: int) -> None:
        before = self._m[: self._used]
        while self._capacity < needed:
            self._capacity *= 2
        try:
            if self._f is None:
                raise OSError("the metrics before this one are in memory")
            allocate(Path(self._fname), self._capacity)
            self._m = mmap.mmap(self._f.fileno(), self._capacity)
        except OSError as error:
            # What others read in the file stays as it is now.
            self._m = self._in_memory(error)
            self._m[: self._used] = before

    def _in_memory(self, error: OSError) -> mmap.mmap:
        if not MetricFile.is_in_memory:
            MetricFile.is_in_memory = True
            log.warning("metrics.in_memory", extra={"error": str(error)})
        memory = mmap.mmap(-1, self._capacity)
        memory[:4] = self._used.to_bytes(4, "little")
        return memory


def install() -> None:
    """Have the client library use these files. Call it before the first metric is made."""
    values.MmapedDict = MetricFile  # type: ignore[attr-defined]


def _create(path: Path) -> None:
    """Make the file under its name whole, or not at all: a scrape reads all that it finds."""
    if path.exists():  # of a process that was killed, and had the same id
        allocate(path, path.stat().st_size)
        return
    unfinished = path.with_name(path.name + _NEW)
    try:
        allocate(unfinished, _FIRST_BYTES)
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
