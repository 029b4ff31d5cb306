"""The follower: keeps this worker with the newest activation, and says whether it is.

A worker may answer only while its last poll is fresh. An activation names a time far enough ahead
that every fresh worker has polled it by then. A worker that was held up polls before it answers, so
no client sees an old version after a new one.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import replace

from core.errors import EvergreenError, StoreError
from core.registry import activations
from core.registry.latest import Latest, LatestPoller
from core.store.store import Store
from core.system.daemon_pool import DaemonPool
from service.swap.executor import Executor

# Well below `promotions.ACTIVATION_LEAD_S`: the margin is the time to write the activation.
FRESH_S = 0.15
#: A request waits for a poll no longer than this.
PATIENCE_S = 0.5
_IDLE_AFTER_S = 1.0
_MAX_FALLBACKS = 20

log = logging.getLogger(__name__)


class Follower:
    def __init__(self, store: Store, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._lock = threading.Lock()
        self._poller = LatestPoller(store.db)
        self._latest = Latest()
        self._fresh_until = 0.0
        # When the last poll that succeeded began, as Unix time.
        self.answered_at = time.time()
        self._is_failing = False
        self._asked_at = 0.0
        # A request waits for a poll in this thread, because the database may hang.
        self._thread = DaemonPool(1, "poll")
        self._polling: Future[None] | None = None
        self._polling_lock = threading.Lock()

    def start(self) -> None:
        """Serve the champion, or the newest champion before it that can be loaded.

        Raises StoreError if there is none.
        """
        with self._store.db.read() as conn:
            history = activations.history(conn, _MAX_FALLBACKS)
        # One that is still ahead is scheduled by the first poll.
        now = self._store.db.clock()
        effective = [
            a for a in history if activations.effective_from(a.activate_at, now) <= now
        ] or history
        first_error: EvergreenError | None = None
        for activation in effective:
            error = self._executor.serve(activation)
            if error is None:
                return
            first_error = first_error or error
        raise StoreError(
            f"no version can be loaded: {first_error or 'none was ever live'}; mend that, or "
            "restore a backup"
        ) from first_error

    @property
    def is_stale(self) -> bool:
        """The last poll is too old to answer by."""
        self._asked_at = time.monotonic()
        return self._asked_at > self._fresh_until

    @property
    def failing_since(self) -> float | None:
        """When the last poll that succeeded began, if later ones fail or hang. None: they don't."""
        return self.answered_at if self._is_failing else None

    def ensure_fresh(self) -> None:
        """Poll now, unless another thread just did. Takes at most PATIENCE_S.

        Without the database, the live version keeps serving: no new one can be activated.
        """
        with self._polling_lock:
            if self._polling is None or self._polling.done():
                self._polling = self._thread.submit(self._poll_if_stale)
            polling = self._polling
        try:
            polling.result(PATIENCE_S)
        except TimeoutError:  # it hangs, and goes on in its thread
            log.warning("swap.store_unavailable", extra={"error": "a poll has not ended"})
            self._is_failing = True
            self._fresh_until = time.monotonic() + FRESH_S

    def _poll_if_stale(self) -> None:
        with self._lock:
            if not self.is_stale:
                return
            try:
                self._poll()
            except StoreError as error:
                log.warning("swap.store_unavailable", extra={"error": str(error)})
                self._fresh_until = time.monotonic() + FRESH_S

    def poll(self) -> Latest:
        """Poll, and follow the newest activation. Raises StoreError.

        A process that is asked for predictions is certain each time, so that none of them has to
        poll. An idle one leaves that to the first request.
        """
        is_idle = time.monotonic() - self._asked_at > _IDLE_AFTER_S
        with self._lock:
            return self._poll(is_certain=self._store.db.is_sqlite or not is_idle)

    def _poll(self, *, is_certain: bool = True) -> Latest:
        polled_at, began_at = time.monotonic(), time.time()
        was_stale, before = polled_at > self._fresh_until, self._latest
        try:
            latest = self._poller.poll(is_certain=is_certain)
        except StoreError:
            self._is_failing = True
            raise
        self._is_failing, self.answered_at, self._latest = False, began_at, latest
        if was_stale and latest.activation != before.activation:
            self._catch_up()
        # A pending promotion can take seconds to load, and requests wait for the lock.
        self._executor.execute(replace(latest, pending=None))
        if is_certain:
            self._fresh_until = polled_at + FRESH_S
        return latest

    def _catch_up(self) -> None:
        """This worker was held up. The other workers serve the activation before the newest, if
        the newest is still ahead, so this one does too."""
        with self._store.db.read() as conn:
            missed = activations.history(conn, 2)[1:]
        for activation in missed:
            self._executor.execute(Latest(activation=activation))
