"""A bound on the speed of a copy, so that those who are served do not notice it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    def __init__(
        self,
        bytes_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """0 bytes a second is no bound."""
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def spend(self, num_bytes: int) -> None:
        """Wait until so many more bytes are within the bound. Unused time is not saved up."""
        if not self._bytes_per_s:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + num_bytes / self._bytes_per_s
        self._sleep(self._free_at - now)
