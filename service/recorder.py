"""The recorder: predictions become rows in groups, one transaction for all that wait.

A prediction is answered only once its row is there, so its id can be corrected at once through any
worker. Whatever is waiting goes together; nobody waits for company.
"""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Future

from core import predictions
from core.errors import StoreError
from core.predictions import Prediction
from core.store import Store

_MAX_GROUP = 256

log = logging.getLogger(__name__)


class Recorder:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[tuple[Prediction, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._is_stopped = False
        self._thread.start()

    def record(self, prediction: Prediction) -> Future[None]:
        """Done when the row is written; raises StoreError if it cannot be."""
        done: Future[None] = Future()
        if self._is_stopped:
            done.set_exception(StoreError("the service is stopping; try again in a second"))
        else:
            self._queue.put((prediction, done))
        return done

    def stop(self) -> None:
        """Write what waits, then end."""
        self._is_stopped = True
        self._queue.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, is_last = [first], False
            while len(group) < _MAX_GROUP:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_last = True
                    break
                group.append(more)
            self._write(group)
            if is_last:
                return

    def _write(self, group: list[tuple[Prediction, Future[None]]]) -> None:
        # A request that timed out has cancelled its future; the others still want theirs.
        group = [(row, done) for row, done in group if done.set_running_or_notify_cancel()]
        if not group:
            return
        try:
            with self._store.db.write(durable=False) as conn:
                predictions.add(conn, [prediction for prediction, _ in group])
        except Exception as error:
            log.exception("predictions.not_recorded", extra={"count": len(group)})
            problem = error if isinstance(error, StoreError) else StoreError(str(error))
            for _, done in group:
                done.set_exception(problem)
        else:
            for _, done in group:
                done.set_result(None)
