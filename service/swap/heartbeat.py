"""What this worker tells the others of itself: which version it answers with, which it has loaded,
and which it could not load. Told when it changes, and often enough to be taken for alive."""

from __future__ import annotations

import logging
import os
import time

from sqlalchemy import Connection

from core.errors import EvergreenError, StoreError
from core.ids import new_id
from core.models.backbones import Runtime
from core.registry import workers
from core.registry.workers import Worker
from core.store.store import Store
from core.system.host import this_host
from service import metrics
from service.swap.loaded_versions import LoadedVersions
from service.swap.slot import Slot

log = logging.getLogger(__name__)


class Heartbeat:
    def __init__(self, store: Store, runtime: Runtime, slot: Slot, loaded: LoadedVersions) -> None:
        self.worker_id = new_id()
        self._store = store
        self._runtime = runtime
        self._slot = slot
        self._loaded = loaded
        self._started_at = time.time()
        self._failed: dict[int, str] = {}
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0

    def has_failed(self, promotion_id: int) -> bool:
        return promotion_id in self._failed

    def record_failure(self, promotion_id: int, version: int, error: EvergreenError) -> None:
        """The promoted version could not be loaded. Counted and logged once."""
        if promotion_id in self._failed:
            return
        self._failed[promotion_id] = str(error)
        metrics.swap_failures.inc()
        log.error("version.load_failed", extra={"version": version, "error": str(error)})

    def clear_failure(self, promotion_id: int) -> None:
        """It could be loaded after all."""
        self._failed.pop(promotion_id, None)

    def send(self) -> None:
        """If there is something new, or to say that it lives. Raises StoreError."""
        is_due = time.time() - self._told_at >= workers.HEARTBEAT_S
        if self._state() == self._told and not is_due:
            return
        with self._store.db.write(durable=False) as conn:
            self.write_row(conn)

    def write_row(self, conn: Connection) -> None:
        """Tell it in a transaction that is open anyway."""
        # From before it is told: what changes meanwhile is told next time.
        state, now = self._state(), time.time()
        worker = Worker(
            id=self.worker_id,
            role="serving",
            host=this_host(),
            pid=os.getpid(),
            provider=self._runtime.provider,
            version=self._slot.version,
            ready=self._loaded.numbers,
            failed=dict(self._failed),
            started_at=self._started_at,
            last_seen=now,
        )
        workers.report(conn, worker)
        self._told, self._told_at = state, now

    def _state(self) -> tuple[object, ...]:
        return self._slot.version, self._loaded.numbers, tuple(self._failed)

    def deregister(self) -> None:
        try:
            with self._store.db.write(durable=False) as conn:
                workers.leave(conn, self.worker_id)
        except StoreError:
            log.warning("worker.leave_failed")  # others will see that it is gone
