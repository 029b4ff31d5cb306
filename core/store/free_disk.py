"""Free disk below the blob folder: with too little of it, images of predictions are not kept.

What is left is then for labels, versions and the database, which must not be lost.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

_CHECK_EVERY_S = 1.0

log = logging.getLogger(__name__)


class FreeDisk:
    """For many threads. Without a folder, as with a remote store, there is always room."""

    def __init__(
        self,
        folder: Path | None = None,
        min_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.min_bytes = min_bytes
        # When it became less, as Unix time. None: there is room.
        self.low_since: float | None = None
        self._folder = folder
        self._clock = clock
        self._has_room = True
        self._check_at = float("-inf")
        self._checking = threading.Lock()

    def measure(self) -> int | None:
        """Free bytes now. None without a folder, or if it cannot be read."""
        try:
            return None if self._folder is None else shutil.disk_usage(self._folder).free
        except OSError:
            return None

    @property
    def has_room(self) -> bool:
        """Whether images of predictions are kept. Measured once a second; changes are logged."""
        if self._clock() >= self._check_at and self._checking.acquire(blocking=False):
            try:
                self._check()
            finally:
                self._checking.release()
        return self._has_room

    def _check(self) -> None:
        free = self.measure()
        had_room, self._has_room = self._has_room, free is None or free >= self.min_bytes
        self._check_at = self._clock() + _CHECK_EVERY_S
        if had_room and not self._has_room:
            self.low_since = time.time()
            log.warning("disk.low", extra={"free_bytes": free, "min_bytes": self.min_bytes})
        elif self._has_room and not had_room:
            self.low_since = None
            log.info("disk.freed", extra={"free_bytes": free, "min_bytes": self.min_bytes})
