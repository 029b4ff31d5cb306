"""The recorder: predictions become rows in groups, one transaction for all that wait.

A prediction is answered only once its row is there, so its id can be corrected at once through any
worker. Whoever finds nobody writing writes, for all that wait: a thread of its own would cost a
prediction two changes of threads. Nobody waits for company.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Executor, Future

from core import predictions
from core.errors import StoreError
from core.predictions import Prediction
from core.store.store import Store

_MAX_GROUP = 256

log = logging.getLogger(__name__)


class Recorder:
    def __init__(self, store: Store, pool: Executor) -> None:
        """`pool` writes what came while another thread wrote. It is shut down, waiting, before
        the recorder is stopped."""
        self._store = store
        self._pool = pool
        self._waiting: deque[tuple[Prediction, Future[None]]] = deque()
        self._writing = threading.Lock()
        self._is_stopped = False

    def record(self, prediction: Prediction) -> Future[None]:
        """Write the row, or leave it to the thread that is writing; the result is done when it is
        written, and raises StoreError if it cannot be. May wait for the database."""
        done: Future[None] = Future()
        if self._is_stopped:
            done.set_exception(StoreError("the service is stopping; try again in a second"))
            return done
        self._waiting.append((prediction, done))
        self._write_waiting()
        return done

    def stop(self) -> None:
        """Write what waits, then refuse."""
        self._is_stopped = True
        with self._writing:
            while self._waiting:
                self._write_group()

    def _write_waiting(self) -> None:
        """One group: whoever writes has an answer to go on with."""
        if not self._writing.acquire(blocking=False):
            return  # who writes looks again afterwards
        try:
            self._write_group()
        finally:
            self._writing.release()
        if self._waiting and not self._is_stopped:
            try:
                self._pool.submit(self._write_waiting)
            except RuntimeError:  # it is shut down, and this is one of its last
                self._write_waiting()

    def _write_group(self) -> None:
        # A request that timed out has cancelled its future; the others still want theirs.
        waiting = (self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_GROUP)))
        group = [(row, done) for row, done in waiting if done.set_running_or_notify_cancel()]
        if not group:
            return
        try:
            predictions.add(self._store.db, [prediction for prediction, _ in group])
        except Exception as error:
            log.exception("predictions.not_recorded", extra={"count": len(group)})
            problem = error if isinstance(error, StoreError) else StoreError(str(error))
            for _, done in group:
                done.set_exception(problem)
        else:
            for _, done in group:
                done.set_result(None)
