"""Health: what of this process and of the installation is degraded, and since when.

It reads the database for `/v1/status` and `/metrics` in threads of its own, with a time limit: both
answer while the database hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from core.doctor.degraded import Degraded, of_disk
from core.errors import StoreError
from core.store.free_disk import FreeDisk
from core.system.daemon_pool import DaemonPool
from service.inference.recorder import Recorder
from service.inference.spool import Spool
from service.swap.swap import Swap

#: The time limit while the database is well, and once it is known not to be.
READ_WITHIN_S = 3.0
READ_WITHIN_WHILE_FAILING_S = 0.5
_NUM_THREADS = 2

Result = TypeVar("Result")


class Health:
    def __init__(self, swap: Swap, recorder: Recorder, spool: Spool, disk: FreeDisk) -> None:
        self._swap = swap
        self._recorder = recorder
        self._spool = spool
        self._disk = disk
        self._threads = DaemonPool(_NUM_THREADS, "state")

    def read(self, work: Callable[[], Result]) -> Result:
        """Do the work, which reads the database. Raises StoreError also if it takes too long."""
        is_failing = self._swap.store_failing_since is not None
        limit_s = READ_WITHIN_WHILE_FAILING_S if is_failing else READ_WITHIN_S
        reading = self._threads.submit(work)
        try:
            return reading.result(limit_s)
        except TimeoutError:
            reading.cancel()
            raise StoreError(f"the database has not answered for {limit_s} s") from None

    def degraded(self, of_database: Sequence[Degraded] | None) -> list[Degraded]:
        """What is degraded, in all. None: the database does not answer."""
        found = [*(of_database or ()), *self._of_process()]
        if of_database is None or self._swap.store_failing_since is not None:
            found.append(self._database())
        return sorted(found, key=lambda each: each.what)

    def _database(self) -> Degraded:
        return Degraded(
            "database",
            self._swap.store_failing_since or self._swap.store_answered_at,
            "the database does not answer: this process predicts with the version that it has, and "
            "takes no labels",
            "mend the database; the log says what is wrong (swap.store_unavailable)",
        )

    def _of_process(self) -> Iterator[Degraded]:
        if self._recorder.unwell_since is not None:
            yield Degraded(
                "store",
                self._recorder.unwell_since,
                "predictions cannot be stored: they wait on local disk, and cannot be labelled by "
                "id until then",
                "mend the database or the blob store; the log says which (predictions.spooled)",
            )
        if self._spool.filling_since is not None:
            yield Degraded(
                "spool",
                self._spool.filling_since,
                "the predictions that wait on local disk take more than half of EVERGREEN_SPOOL_MB",
                "mend the store, or give the spool more room: beyond it predictions are not kept",
            )
        if self._recorder.not_kept_since is not None:
            yield Degraded(
                "capture",
                self._recorder.not_kept_since,
                "predictions are answered and not kept: neither the store nor the spool takes them",
                "mend the store, free some disk, or raise EVERGREEN_SPOOL_MB",
            )
        yield from of_disk(self._disk)
