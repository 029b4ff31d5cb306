"""The slot: which version answers now in this process, and from when another will.

A request takes the reference once and keeps it: the old version lives until its last request ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.errors import NotReady
from core.models.servable import Servable


class Slot:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Servable | None = None
        self._next: tuple[float, Servable] | None = None

    def current(self) -> Servable:
        """The version of this moment. Raises NotReady before the first."""
        upcoming = self._next
        if upcoming is not None and self._clock() >= upcoming[0]:
            self._switch()
        if self._current is None:
            raise NotReady("no version is loaded yet; try again in a second")
        return self._current

    @property
    def version(self) -> int | None:
        return self.current().version if self._current is not None else None

    def put(self, servable: Servable) -> None:
        """Answer with this one from now on."""
        with self._lock:
            self._current, self._next = servable, None

    def put_at(self, servable: Servable, activate_at: float) -> None:
        """Answer with this one from a moment on; a later call replaces an earlier one."""
        self._switch()  # one that is due already is not replaced, but comes before it
        with self._lock:
            self._next = (activate_at, servable)
        self._switch()

    def _switch(self) -> None:
        with self._lock:
            if self._next is not None and self._clock() >= self._next[0]:
                self._current, self._next = self._next[1], None
