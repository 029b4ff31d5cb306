"""The shadow recorder: scores the champion's predictions with the shadows, and records the answers.

A thread gathers predictions for a moment, scores them with one call for each shadow, and writes the
answers in one transaction. No request waits for it, and no failure here fails a prediction. What
a process has gathered when it is killed is lost, and comparisons do without it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.class_names import is_same
from core.errors import StoreError
from core.models.servable import Servable
from core.predict import PredictionResult
from core.predictions import Prediction
from core.shadows import answers
from core.shadows.answers import ShadowAnswer
from core.store.store import Store
from service.swap.shadows import Shadows

_GATHER_S = 0.2
# Some megabytes of embeddings. Beyond it, shadows skip predictions.
_MAX_QUEUED = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Primary:
    # Not the whole result: its order of all classes would take memory until the shadows answer.
    servable: Servable
    prediction: Prediction
    embedding_D: NDArray[np.float32]


class ShadowRecorder:
    def __init__(self, store: Store, shadows: Shadows) -> None:
        self._store = store
        self._shadows = shadows
        self._queue: queue.SimpleQueue[_Primary | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
        self._thread.start()

    def follow(self, servable: Servable, result: PredictionResult) -> None:
        """Have the shadows answer too, soon. Never waits, never raises."""
        if self._queue.qsize() < _MAX_QUEUED:
            self._queue.put(_Primary(servable, result.prediction, result.embedding_D))

    def stop(self) -> None:
        """Write what is queued, then end."""
        self._stop.set()
        self._queue.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            self._stop.wait(_GATHER_S)
            group, is_last = [first], False
            while not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    is_last = True
                    break
                group.append(more)
            self._answer(group)
            if is_last:
                return

    def _answer(self, group: Sequence[_Primary]) -> None:
        try:
            rows = list(answers_of(self._shadows.current, group))
            if rows:
                with self._store.db.write(durable=False) as conn:
                    answers.add(conn, rows, self._store.db.clock())
        except StoreError as error:
            log.warning("shadow.not_recorded", extra={"count": len(group), "error": str(error)})
        except Exception:
            log.exception("shadow.not_recorded", extra={"count": len(group)})


def answers_of(shadows: Sequence[Servable], group: Sequence[_Primary]) -> Iterator[ShadowAnswer]:
    """The answer of each shadow to each prediction whose embedding it can score."""
    for shadow in shadows:
        fitting = [item for item in group if _shares(shadow, item.servable)]
        if not fitting or not shadow.manifest.classes:
            continue
        _, probabilities_BK = shadow.score(np.stack([item.embedding_D for item in fitting]))
        for item, k in zip(fitting, probabilities_BK.argmax(axis=1), strict=True):
            label = shadow.manifest.classes[k]
            primary = item.prediction
            agrees = is_same(label, primary.label)
            yield ShadowAnswer(primary.id, shadow.version, label, primary.version, agrees)


def _shares(shadow: Servable, servable: Servable) -> bool:
    return (
        shadow.version != servable.version
        and shadow.backbone.digest == servable.backbone.digest
        and shadow.manifest.input_spec == servable.manifest.input_spec
    )
