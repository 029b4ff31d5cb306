"""The swap: this worker's part in a change of champion.

Every tick it looks at two rows. A promotion that waits: load its version beside the one that
answers, say that it is ready, and help to decide (`core/champion.py`). A new activation: hand the
loaded version to the slot for the moment it names. Loading never holds up a request.

A worker may answer only while its last look is fresh: an activation names a moment far enough ahead
that every fresh worker has seen it by then. One that was held up looks again before it answers, so
nobody who has seen a version is ever answered by the one before it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence

from core import champion, labels, versions, workers
from core.champion import Activation, Promotion
from core.errors import EvergreenError, StoreError
from core.predictions import new_id
from core.servable import Runtime
from core.store import Store
from core.workers import Worker
from service import metrics
from service.loaded import Loaded
from service.shadows import Shadows
from service.slot import Slot

TICK_S = 0.1
# Well below `champion.LEAD_S`: the time that writing the activation takes is the margin.
FRESH_S = 0.25
_FALL_BACK_ON = 20

log = logging.getLogger(__name__)


class Swap:
    def __init__(
        self, store: Store, runtime: Runtime, slot: Slot, shadow: Sequence[int] = ()
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._slot = slot
        self.loaded = Loaded(store, runtime)
        self.shadows = Shadows(store, self.loaded, shadow)
        self._id = new_id()
        self._started_at = time.time()
        self._failed: dict[int, str] = {}
        self._noticed_at: dict[int, float] = {}
        self._seen_activation = 0
        self._reported: tuple[object, ...] = ()
        self._reported_at = 0.0
        self._following = threading.Lock()
        self._fresh_until = 0.0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swap", daemon=True)

    def start(self) -> None:
        """Load the champion, say so, and follow it from then on. Raises StoreError."""
        self._load_first()
        self._report(time.time())
        # From that report on, promotions wait for this worker; one decided before it is seen here.
        self._tick()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=5)
        try:
            with self._store.db.write(durable=False) as conn:
                workers.leave(conn, self._id)
        except StoreError:
            log.warning("worker.leave_failed")  # others will see that it is gone

    def wake(self) -> None:
        """Look now rather than at the next tick."""
        self._wake.set()

    @property
    def is_stale(self) -> bool:
        """The last look at the activations is too old to answer by."""
        return time.monotonic() > self._fresh_until

    def confirm(self) -> None:
        """Look at the activations now, unless another thread just did.

        With the database gone, the version that answers goes on: no new one can be activated.
        """
        with self._following:
            if not self.is_stale:
                return
            try:
                self._look()
            except StoreError as error:
                log.warning("swap.store_unavailable", extra={"error": str(error)})
                self._fresh_until = time.monotonic() + FRESH_S

    def _look(self) -> tuple[Promotion | None, Activation | None]:
        looked_at = time.monotonic()
        with self._store.db.read() as conn:
            waiting = champion.waiting(conn)
            newest = champion.newest_activation(conn)
        if newest is not None and newest.id != self._seen_activation:
            self._follow(newest)
        self._fresh_until = looked_at + FRESH_S
        return waiting, newest

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(TICK_S)
            self._wake.clear()
            try:
                standing = self._tick()
                if standing is not None:
                    self.shadows.look(standing)
            except StoreError as error:
                log.warning("swap.store_unavailable", extra={"error": str(error)})
                self._stop.wait(1.0)
            except Exception:
                # The old version goes on answering, whatever is wrong with the new one.
                log.exception("swap.failed")
                self._stop.wait(1.0)

    def _tick(self) -> Activation | None:
        """Returns the newest activation, unless another version is on its way."""
        with self._following:
            waiting, newest = self._look()
        if waiting is not None:
            self._prepare(waiting)
        self._slot.current()
        self._forget(waiting, newest)
        self._report(time.time())
        if waiting is not None and waiting.version in self.loaded:
            self._advance()
        return newest if waiting is None else None

    def _follow(self, activation: Activation) -> None:
        servable = self.loaded.get(activation.version)
        if servable is None:
            try:
                servable = self.loaded.load(activation.version)
            except StoreError:
                raise  # it may be back at the next look
            except EvergreenError as error:
                self._fail(activation.promotion_id, activation.version, error)
                self._seen_activation = activation.id
                return
        self._slot.put_at(servable, activation.activate_at)
        self._seen_activation = activation.id
        noticed = self._noticed_at.pop(activation.version, activation.created_at)
        metrics.swap_seconds.observe(max(0.0, activation.activate_at - noticed))
        log.info(
            "swap.scheduled",
            extra={"version": activation.version, "activate_at": activation.activate_at},
        )
        self._observe_labels(activation)

    def _observe_labels(self, activation: Activation) -> None:
        """How long the labels waited that this activation is the first to answer with.

        The worker that is listed first counts them: a trainer may have written the activation.
        """
        with self._store.db.read() as conn:
            live = workers.live(conn, time.time(), "serving")
            if not live or live[0].id != self._id:
                return
            snapshot = versions.get(conn, activation.version).snapshot
            before = champion.seen_before(conn, activation.id)
            acknowledged = labels.times_between(conn, before, snapshot)
        for created_at in acknowledged:
            metrics.label_to_live_seconds.observe(activation.activate_at - created_at)

    def _prepare(self, promotion: Promotion) -> None:
        if promotion.version in self.loaded or promotion.id in self._failed:
            return
        self._noticed_at[promotion.version] = time.time()
        try:
            self.loaded.load(promotion.version)
        except EvergreenError as error:
            self._fail(promotion.id, promotion.version, error)
            with self._store.db.write() as conn:
                workers.report(conn, self._worker(time.time()))
                champion.advance(conn, time.time())

    def _advance(self) -> None:
        activation = champion.move_on(self._store.db)
        if activation is not None:
            log.info(
                "version.promoted",
                extra={"version": activation.version, "why": activation.why},
            )
            self._wake.set()

    def _load_first(self) -> None:
        """The champion; if it cannot be loaded, the newest before it that can."""
        with self._store.db.read() as conn:
            found = champion.history(conn, _FALL_BACK_ON)
        # What is to answer only in a moment is followed like any other change.
        now = time.time()
        activations = [a for a in found if a.activate_at <= now] or found
        problem: EvergreenError | None = None
        for activation in activations:
            try:
                self._slot.put(self.loaded.load(activation.version))
            except EvergreenError as error:
                self._fail(activation.promotion_id, activation.version, error)
                problem = problem or error
                continue
            self._seen_activation = activations[0].id
            return
        raise StoreError(
            "no version can be loaded; restore the blob store, or begin with an empty home folder"
        ) from problem

    def _fail(self, promotion_id: int, version: int, error: EvergreenError) -> None:
        self._failed[promotion_id] = str(error)
        metrics.swap_failures.inc()
        log.error("version.load_failed", extra={"version": version, "error": str(error)})

    def _forget(self, waiting: Promotion | None, newest: Activation | None) -> None:
        """Drop versions that neither answer, nor are about to, nor stand beside the champion."""
        wanted = {self._slot.version, *self.shadows.kept}
        wanted.update(x.version for x in (waiting, newest) if x is not None)
        self.loaded.keep_only(wanted)

    def _report(self, now: float) -> None:
        state = (self._slot.version, self.loaded.numbers, tuple(self._failed))
        if state == self._reported and now - self._reported_at < workers.HEARTBEAT_S:
            return
        with self._store.db.write(durable=False) as conn:
            workers.report(conn, self._worker(now))
        self._reported, self._reported_at = state, now

    def _worker(self, now: float) -> Worker:
        return Worker(
            id=self._id,
            role="serving",
            host=workers.this_host(),
            pid=os.getpid(),
            provider=self._runtime.provider,
            version=self._slot.version,
            ready=self.loaded.numbers,
            failed=dict(self._failed),
            started_at=self._started_at,
            last_seen=now,
        )
