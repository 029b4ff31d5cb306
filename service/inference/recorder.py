"""The recorder: predictions become rows in groups, and their images blobs.

A response is sent when both are stored, so any worker can label the prediction by its id. Threads
that record while another one writes wait for it. The next of them writes for all.

Where the store fails, or takes longer than `patience_s`, the prediction goes to the spool, and so
do those after it until the store is well again. Where the spool has no room either, the prediction
is answered and not kept. So an answer never depends on the store.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

from core import predictions
from core.errors import EvergreenError, StoreError
from core.predictions import Prediction
from core.store.store import Store
from core.system.daemon_pool import DaemonPool
from service import metrics
from service.inference.spool import Spool

#: An embedded store takes less than a millisecond, a remote one some tens.
PATIENCE_S = 0.5
_SAY_EVERY_S = 10.0

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Waiting:
    prediction: Prediction
    is_done: bool = False
    error: Exception | None = None


class Recorder:
    """For many threads."""

    def __init__(
        self, store: Store, spool: Spool, num_threads: int = 0, patience_s: float = PATIENCE_S
    ) -> None:
        """A remote store may hang for longer than any limit of its driver, so `num_threads`
        threads call it. Without them, the thread that records does."""
        self._store = store
        self._spool = spool
        self._patience_s = patience_s
        self._threads = DaemonPool(num_threads, "record") if num_threads else None
        self._waiting: deque[_Waiting] = deque()
        self._writing = threading.Lock()
        self._said_at = -_SAY_EVERY_S
        # When the store failed, as Unix time. None: it is well.
        self.unwell_since: float | None = None
        # When a prediction was first not kept. None: the last one was.
        self.not_kept_since: float | None = None

    def record(self, prediction: Prediction, image: bytes) -> None:
        """Store the prediction with its image, or spool it, or count it as not kept.

        The image is empty where it is not to be kept. Then only the row is stored.
        """
        if self.unwell_since is None:
            try:
                self._store_in_time(prediction, image)
                return
            except EvergreenError as error:
                self.note_unwell(error)
        if self._spool.put(prediction, image):
            metrics.spooled.inc()
            self.not_kept_since = None
        else:
            metrics.not_kept.inc()
            self.not_kept_since = self.not_kept_since or time.time()
            if self._may_say():
                log.warning("predictions.not_kept")

    def note_unwell(self, error: Exception) -> None:
        if self.unwell_since is None:
            self.unwell_since = time.time()
        if self._may_say():
            log.warning("predictions.spooled", extra={"error": str(error)})

    def note_well(self) -> None:
        self.unwell_since = self.not_kept_since = None

    def _store_in_time(self, prediction: Prediction, image: bytes) -> None:
        """Raises StoreError."""
        if self._threads is None:
            self._store_both(prediction, image)
            return
        stored = self._threads.submit(self._store_both, prediction, image)
        try:
            stored.result(self._patience_s)
        except TimeoutError:
            # It may be stored later. The spool finds that when it is drained.
            stored.cancel()
            raise StoreError(f"the store has not answered for {self._patience_s} s") from None

    def _store_both(self, prediction: Prediction, image: bytes) -> None:
        # Before the row that names it, so that the prediction can be labelled by its id.
        if image:
            self._store.blobs.put(image, durable=False, digest=prediction.image)
        mine = _Waiting(prediction)
        self._waiting.append(mine)
        if not self._writing.acquire(timeout=self._patience_s):
            with contextlib.suppress(ValueError):  # the one who writes has it, and may yet store it
                self._waiting.remove(mine)
            raise StoreError(f"a write has not ended for {self._patience_s} s")
        try:
            if not mine.is_done:
                self._write_group()
        finally:
            self._writing.release()
        if mine.error is not None:
            raise StoreError(str(mine.error)) from mine.error

    def _write_group(self) -> None:
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        error: Exception | None = None
        try:
            predictions.add(
                self._store.db, [waiting.prediction for waiting in group], self._patience_s
            )
        except Exception as raised:
            if not isinstance(raised, StoreError):
                log.exception("predictions.not_recorded", extra={"count": len(group)})
            error = raised
        for waiting in group:
            waiting.is_done, waiting.error = True, error

    def _may_say(self) -> bool:
        """Every ten seconds: there are hundreds of predictions a second."""
        now = time.monotonic()
        is_time = now - self._said_at >= _SAY_EVERY_S
        if is_time:
            self._said_at = now
        return is_time
