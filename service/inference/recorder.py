"""The recorder: predictions become rows in groups.

A response is sent when the row is written, so any worker can label the prediction by its id.
Threads that record while another one writes wait for it. The next of them writes for all.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from core import predictions
from core.errors import StoreError
from core.predictions import Prediction
from core.store.store import Store

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Waiting:
    prediction: Prediction
    is_done: bool = False
    error: Exception | None = None


class Recorder:
    """For many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._writing = threading.Lock()

    def record(self, prediction: Prediction) -> None:
        """Write the row, and return when it is written. Raises StoreError."""
        mine = _Waiting(prediction)
        self._waiting.append(mine)
        with self._writing:
            if not mine.is_done:
                self._write_group()
        if mine.error is not None:
            raise StoreError(str(mine.error)) from mine.error

    def _write_group(self) -> None:
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        error: Exception | None = None
        try:
            predictions.add(self._store.db, [waiting.prediction for waiting in group])
        except Exception as raised:
            log.exception("predictions.not_recorded", extra={"count": len(group)})
            error = raised
        for waiting in group:
            waiting.is_done, waiting.error = True, error
