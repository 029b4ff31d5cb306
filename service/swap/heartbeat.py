"""The heartbeat: what this worker reports of itself to the others.

It names the version that serves, the versions that are loaded, and those that could not be loaded.
It is sent when one of these changes, and once a second.
"""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass

from sqlalchemy import Connection

from core.errors import EvergreenError, StoreError
from core.ids import new_id
from core.models.backbones import Runtime
from core.registry import promotions, workers
from core.registry.workers import Worker
from core.store.store import Store
from core.system.host import this_host
from service import metrics
from service.swap.loaded_versions import LoadedVersions
from service.swap.slot import Slot

# A blob store that is unavailable may come back. As long as promotions wait for a worker.
GIVE_UP_AFTER_S = promotions.MAX_WAIT_S
RETRY_AFTER_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str
    first_at: float
    # Infinity: never.
    retry_at: float


class Heartbeat:
    def __init__(self, store: Store, runtime: Runtime, slot: Slot, loaded: LoadedVersions) -> None:
        self.worker_id = new_id()
        self._store = store
        self._runtime = runtime
        self._slot = slot
        self._loaded = loaded
        self._started_at = time.time()
        # By the id of the promotion.
        self._failures: dict[int, Failure] = {}
        self._sent: tuple[object, ...] = ()
        self._sent_at = 0.0

    @property
    def failed_promotions(self) -> set[int]:
        """Ids of the promotions whose version is not to be loaded now."""
        now = time.monotonic()
        return {number for number, each in tuple(self._failures.items()) if now < each.retry_at}

    def record_failure(self, promotion_id: int, version: int, error: EvergreenError) -> None:
        """The version of the promotion could not be loaded. Counted and logged once.

        It is retried if the store failed, and given up after `GIVE_UP_AFTER_S`.
        """
        now = time.monotonic()
        before = self._failures.get(promotion_id)
        first_at = now if before is None else before.first_at
        may_recover = isinstance(error, StoreError) and now < first_at + GIVE_UP_AFTER_S
        retry_at = now + RETRY_AFTER_S if may_recover else math.inf
        self._failures[promotion_id] = Failure(str(error), first_at, retry_at)
        if before is None:
            metrics.swap_failures.inc()
            log.error("version.load_failed", extra={"version": version, "error": str(error)})

    def clear_failure(self, promotion_id: int) -> None:
        """The version could be loaded after all."""
        self._failures.pop(promotion_id, None)

    def send(self) -> None:
        """Write the row if something has changed or a heartbeat is due. Raises StoreError."""
        is_due = time.time() - self._sent_at >= workers.HEARTBEAT_S
        if self._state() == self._sent and not is_due:
            return
        with self._store.db.write(durable=False) as conn:
            self.write_row(conn)

    def write_row(self, conn: Connection) -> None:
        """Write it in a transaction of the caller."""
        # Read first: what changes meanwhile is sent next time.
        state, now = self._state(), time.time()
        worker = Worker(
            id=self.worker_id,
            role="serving",
            host=this_host(),
            pid=os.getpid(),
            provider=self._runtime.provider,
            version=self._slot.version,
            ready=self._loaded.numbers,
            failed={number: each.reason for number, each in tuple(self._failures.items())},
            started_at=self._started_at,
            last_seen=now,
        )
        workers.report(conn, worker)
        self._sent, self._sent_at = state, now

    def _state(self) -> tuple[object, ...]:
        return self._slot.version, self._loaded.numbers, tuple(self._failures)

    def deregister(self) -> None:
        try:
            with self._store.db.write(durable=False) as conn:
                workers.leave(conn, self.worker_id)
        except StoreError:
            log.warning("worker.leave_failed")  # the others will see that it is gone
