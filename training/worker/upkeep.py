"""Upkeep: a thread of the trainer that sweeps what the recipe lets go.

It rests between the pieces of a sweep, so that predictions and runs keep the CPU and the disk.
"""

from __future__ import annotations

import contextlib
import logging
import threading

from core.retention.leased_sweep import LeasedSweep
from core.system.priority import yield_to_others

_EVERY_S = 600.0
# The first sweep lets a start pass.
_FIRST_AFTER_S = 30.0
# After a piece that deleted something, and after one that only read.
_REST_S = 0.05
_SHORT_REST_S = 0.01

log = logging.getLogger(__name__)


class Upkeep:
    def __init__(self, sweep: LeasedSweep, first_after_s: float = _FIRST_AFTER_S) -> None:
        self._sweep = sweep
        self._first_after_s = first_after_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def sweep(self) -> None:
        """Sweep once, unless another process does. Ends early after `stop`."""
        if not self._sweep.begin():
            return
        num_deleted = num_bytes = 0
        with contextlib.closing(self._sweep.pieces()) as pieces:
            for swept in pieces:
                num_deleted += swept.num_items
                num_bytes += swept.num_bytes
                if self._stop.wait(_REST_S if swept.num_items else _SHORT_REST_S):
                    return
        if num_deleted:
            log.info("sweep.finished", extra={"count": num_deleted, "bytes": num_bytes})

    def _run(self) -> None:
        yield_to_others()
        pause_s = self._first_after_s
        while not self._stop.wait(pause_s):
            pause_s = _EVERY_S
            try:
                self.sweep()
            except Exception as error:  # whatever a driver raises, the next sweep goes on with it
                log.warning("sweep.failed", extra={"error": str(error)})
