"""The heartbeat: what this worker reports of itself to the others.

It names the version that serves, the versions that are loaded, and those that could not be loaded.
The swap's thread sends it when one of these changes. A thread of its own renews it once a second,
because loading a large version keeps the other busy, and a silent worker counts as dead.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from dataclasses import dataclass

from sqlalchemy import Connection

from core.errors import BlobMissing, EvergreenError, StoreError
from core.ids import new_id
from core.models.backbones import Runtime
from core.registry import promotions, workers
from core.registry.workers import Worker
from core.store.store import Store
from core.system.host import pid_space, this_host
from service import metrics
from service.swap.loaded_versions import LoadedVersions
from service.swap.slot import Slot

# A blob store that is unavailable may come back. As long as promotions wait for a worker.
GIVE_UP_AFTER_S = promotions.MAX_WAIT_S
RETRY_AFTER_S = 1.0

# A blob may be restored, or reach a replica late.
_MAY_RECOVER = (BlobMissing, StoreError)

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
        self._started_at = store.db.clock()
        # By the id of the promotion.
        self._failures: dict[int, Failure] = {}
        self._sent: tuple[object, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="heartbeat", daemon=True)

    @property
    def failed_promotions(self) -> set[int]:
        """Ids of the promotions whose version is not to be loaded now."""
        now = time.monotonic()
        return {number for number, each in tuple(self._failures.items()) if now < each.retry_at}

    def record_failure(self, promotion_id: int, version: int, error: EvergreenError) -> None:
        """The version of the promotion could not be loaded. Counted and logged once.

        It is retried if the store failed or lacks a blob, and given up after `GIVE_UP_AFTER_S`.
        """
        now = time.monotonic()
        before = self._failures.get(promotion_id)
        first_at = now if before is None else before.first_at
        may_recover = isinstance(error, _MAY_RECOVER) and now < first_at + GIVE_UP_AFTER_S
        retry_at = now + RETRY_AFTER_S if may_recover else math.inf
        self._failures[promotion_id] = Failure(str(error), first_at, retry_at)
        if before is None:
            metrics.swap_failures.inc()
            log.error("version.load_failed", extra={"version": version, "error": str(error)})

    def clear_failure(self, promotion_id: int) -> None:
        """The version could be loaded after all."""
        self._failures.pop(promotion_id, None)

    def send(self) -> None:
        """Write the row if something has changed. Raises StoreError."""
        if self._state() == self._sent:
            return
        with self._store.db.write(durable=False) as conn:
            self.write_row(conn)

    def write_row(self, conn: Connection) -> None:
        """Write it in a transaction of the caller."""
        # Read first: what changes meanwhile is sent next time.
        state, now = self._state(), self._store.db.clock()
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
            pid_space=pid_space(),
        )
        workers.report(conn, worker)
        self._sent = state

    def _state(self) -> tuple[object, ...]:
        return self._slot.version, self._loaded.numbers, tuple(self._failures)

    def start(self) -> None:
        """Renew it from now on."""
        self._thread.start()

    def _renew(self) -> None:
        while not self._stop.wait(workers.HEARTBEAT_S):
            try:
                with self._store.db.execute_once() as conn:
                    is_known = workers.beat(conn, self.worker_id, self._store.db.clock())
                if not is_known:  # it was silent for an hour, and forgotten
                    self._sent = ()
                self._store.db.follow_clock()
            except StoreError:
                continue  # the swap's thread logs that the store is away
            except Exception:
                log.exception("heartbeat.failed")

    def deregister(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        try:
            with self._store.db.write(durable=False) as conn:
                workers.leave(conn, self.worker_id)
        except StoreError:
            log.warning("worker.leave_failed")  # the others will see that it is gone
