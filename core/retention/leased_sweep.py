"""A sweep under the lease, which ends by measuring what is left. Trainers and commands do it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass

from core import audit
from core.retention import lease, storage
from core.retention.sweep import Sweeper, Swept


@dataclass(frozen=True, slots=True)
class LeasedSweep:
    sweeper: Sweeper
    owner: str
    clock: Callable[[], float] = time.time

    def begin(self) -> bool:
        """Take the lease. False while another process sweeps."""
        with self.sweeper.store.db.write(durable=False) as conn:
            return lease.acquire(conn, self.owner, self.clock())

    def pieces(self) -> Generator[Swept, None, None]:
        """Sweep, and yield after each piece. It may be closed after any of them.

        Raises StoreError, or what else the store raises.
        """
        store = self.sweeper.store
        renewed_at = time.monotonic()
        deleted: Counter[str] = Counter()
        num_bytes = 0
        try:
            for swept in self.sweeper.sweep(self.clock()):
                deleted[swept.kind] += swept.num_items
                num_bytes += swept.num_bytes
                yield swept
                if time.monotonic() - renewed_at > lease.LEASE_S / 3:
                    if not self.begin():
                        return
                    renewed_at = time.monotonic()
            uses = storage.measure(store, self.sweeper.files, self.sweeper.cache)
            with store.db.write(durable=False) as conn:
                storage.record(conn, uses, self.clock())
        finally:
            with store.db.write(durable=False) as conn:
                lease.release(conn, self.owner)
                if deleted.total():
                    detail = {"bytes": num_bytes, **+deleted}
                    audit.record(conn, self.sweeper.by, "gc.swept", "store", self.clock(), **detail)
