"""The shadow recorder: lets the shadows answer what the champion has answered, and writes it down.

Off the way of a request: a thread gathers for a moment, scores all that came with one call a
shadow, and writes it in one transaction. Nobody waits for it, and nothing that fails here fails a
prediction; what a dying process had gathered is lost, which a comparison survives.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import StoreError
from core.models.servable import Servable
from core.predict import PredictionResult
from core.predictions import Prediction
from core.shadows import answers
from core.shadows.answers import ShadowAnswer
from core.store.store import Store
from service.swap.shadows import Shadows

_GATHER_S = 0.2
# Some megabytes of embeddings. Beyond it, answers go without shadows.
_MAX_WAITING = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Followed:
    # Not the whole answer: its order of all classes would live on until the shadows answer.
    servable: Servable
    prediction: Prediction
    embedding_D: NDArray[np.float32]


class ShadowRecorder:
    def __init__(self, store: Store, shadows: Shadows) -> None:
        self._store = store
        self._shadows = shadows
        self._queue: queue.SimpleQueue[_Followed | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
        self._thread.start()

    def follow(self, servable: Servable, answer: PredictionResult) -> None:
        """Have the shadows answer too, in a moment. Never waits, never raises."""
        if self._shadows.current and self._queue.qsize() < _MAX_WAITING:
            self._queue.put(_Followed(servable, answer.prediction, answer.embedding_D))

    def stop(self) -> None:
        """Write what waits, then end."""
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

    def _answer(self, group: Sequence[_Followed]) -> None:
        try:
            rows = list(answers_of(self._shadows.current, group))
            if rows:
                with self._store.db.write(durable=False) as conn:
                    answers.add(conn, rows, time.time())
        except StoreError as error:
            log.warning("shadow.not_recorded", extra={"count": len(group), "error": str(error)})
        except Exception:
            log.exception("shadow.not_recorded", extra={"count": len(group)})


def answers_of(shadows: Sequence[Servable], group: Sequence[_Followed]) -> Iterator[ShadowAnswer]:
    """What each shadow says of each answer whose embedding it can start from."""
    for shadow in shadows:
        fitting = [item for item in group if _shares(shadow, item.servable)]
        if not fitting:
            continue
        _, probabilities_BK = shadow.score(np.stack([item.embedding_D for item in fitting]))
        for item, k in zip(fitting, probabilities_BK.argmax(axis=1), strict=True):
            label = shadow.manifest.classes[k]
            aloud = item.prediction
            yield ShadowAnswer(aloud.id, shadow.version, label, aloud.version, label == aloud.label)


def _shares(shadow: Servable, servable: Servable) -> bool:
    return (
        shadow.version != servable.version
        and shadow.backbone.digest == servable.backbone.digest
        and shadow.manifest.pixels == servable.manifest.pixels
    )
