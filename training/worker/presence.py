"""What a trainer reports of itself: that it is alive, once a second."""

from __future__ import annotations

import os
from dataclasses import replace

from core.registry import workers
from core.registry.workers import Worker
from core.store.store import Store
from core.system.host import pid_space, this_host

_FORGET_EVERY_S = 60.0


class Presence:
    def __init__(self, store: Store, worker_id: str, provider: str) -> None:
        self._store = store
        self._worker = Worker(
            id=worker_id,
            role="trainer",
            host=this_host(),
            pid=os.getpid(),
            provider=provider,
            version=None,
            ready=(),
            started_at=store.db.clock(),
            pid_space=pid_space(),
        )
        self._renewed_at = 0.0
        self._forgot_at = 0.0

    def renew(self, now: float) -> None:
        """Report it, unless that was a moment ago. Raises StoreError."""
        if abs(now - self._renewed_at) < workers.HEARTBEAT_S:
            return
        self._renewed_at = now
        self._store.db.follow_clock()
        if abs(now - self._forgot_at) < _FORGET_EVERY_S:
            with self._store.db.execute_once() as conn:
                if workers.beat(conn, self._worker.id, now):
                    return
        self._forgot_at = now
        with self._store.db.write(durable=False) as conn:
            workers.report(conn, replace(self._worker, last_seen=now))
            workers.forget_dead(conn, now)

    def leave(self) -> None:
        """Raises StoreError."""
        with self._store.db.write(durable=False) as conn:
            workers.leave(conn, self._worker.id)
