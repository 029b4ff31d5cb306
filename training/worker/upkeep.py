"""Upkeep: a thread of the trainer that sweeps what the recipe lets go, and measures what is left.

It rests between the pieces of a sweep, so that predictions and runs keep the CPU and the disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from core.retention import lease, storage
from core.retention.sweep import Sweeper
from core.store.store import Store
from core.system.priority import yield_to_others

_EVERY_S = 600.0
# The first sweep lets a start pass.
_FIRST_AFTER_S = 30.0
# After a piece that deleted something, and after one that only read.
_REST_S = 0.05
_SHORT_REST_S = 0.01

log = logging.getLogger(__name__)


class Upkeep:
    def __init__(
        self,
        store: Store,
        sweeper: Sweeper,
        owner: str,
        clock: Callable[[], float] = time.time,
        first_after_s: float = _FIRST_AFTER_S,
    ) -> None:
        self._store = store
        self._sweeper = sweeper
        self._owner = owner
        self._clock = clock
        self._first_after_s = first_after_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def sweep(self) -> bool:
        """Sweep once, unless another process does. Returns whether it came to the end."""
        if not self._has_lease():
            return False
        renewed_at = time.monotonic()
        num_deleted = num_bytes = 0
        for swept in self._sweeper.sweep(self._clock()):
            num_deleted += swept.num_items
            num_bytes += swept.num_bytes
            if self._stop.wait(_REST_S if swept.num_items else _SHORT_REST_S):
                return False
            if time.monotonic() - renewed_at > lease.LEASE_S / 3:
                if not self._has_lease():
                    return False
                renewed_at = time.monotonic()
        if num_deleted:
            log.info("sweep.finished", extra={"count": num_deleted, "bytes": num_bytes})
        uses = storage.measure(self._store, self._sweeper.files, self._sweeper.cache)
        with self._store.db.write(durable=False) as conn:
            storage.record(conn, uses, self._clock())
            lease.release(conn, self._owner)
        return True

    def _has_lease(self) -> bool:
        with self._store.db.write(durable=False) as conn:
            return lease.acquire(conn, self._owner, self._clock())

    def _run(self) -> None:
        yield_to_others()
        pause_s = self._first_after_s
        while not self._stop.wait(pause_s):
            pause_s = _EVERY_S
            try:
                self.sweep()
            except Exception as error:  # whatever a driver raises, the next sweep goes on with it
                log.warning("sweep.failed", extra={"error": str(error)})
