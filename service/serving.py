"""One serving process: its store, its slot, and the way of a prediction through them."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from core import pixels
from core.bootstrap import ensure_first_version
from core.pixels import Limits
from core.predictions import Prediction, new_id
from core.servable import Runtime, Servable
from core.settings import Settings
from core.store import Store, open_store
from service import metrics
from service.recorder import Recorder
from service.slot import Slot
from service.swap import Swap


@dataclass(frozen=True, slots=True)
class Answer:
    """A prediction with all that its version says of it: (class, confidence), best first."""

    prediction: Prediction
    ranking: list[tuple[str, float]]
    abstains: bool


class Serving:
    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.limits = Limits(max_pixels=settings.max_pixels)
        self.runtime = Runtime(settings.provider, settings.threads)
        self.slot = Slot()
        self.swap = Swap(store, self.runtime, self.slot)
        self.started_at = time.time()
        self._recorder = Recorder(store)
        # One decodes while another one scores.
        self._pool = ThreadPoolExecutor(settings.threads + 1, thread_name_prefix="predict")

    @staticmethod
    def start(settings: Settings) -> Serving:
        """Open the store, publish version 1 if there is none, load the champion, and follow it."""
        store = open_store(settings)
        ensure_first_version(store)
        serving = Serving(settings, store)
        serving.swap.start()
        return serving

    def stop(self) -> None:
        self.swap.stop()
        self._pool.shutdown(wait=True)
        self._recorder.stop()
        self.store.db.close()

    async def predict(self, image: bytes) -> Answer:
        """Answer with the champion of this moment. Raises UndecodableImage, ImageTooLarge,
        NotReady, StoreError."""
        servable = self.slot.current()
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._pool, self._answer, servable, image)
        await asyncio.wrap_future(self._recorder.record(answer.prediction))
        metrics.predictions.inc()
        if answer.abstains:
            metrics.abstentions.inc()
        return answer

    def _answer(self, servable: Servable, image: bytes) -> Answer:
        manifest = servable.manifest
        pixels_HWC = pixels.decode(image, manifest.pixels, self.limits)
        probabilities_K = servable.predict(pixels_HWC[np.newaxis]).probabilities_BK[0]
        # The image is kept before the row that names it, so that it can be corrected by id.
        digest = self.store.blobs.put(image, durable=False)
        order = np.argsort(-probabilities_K, kind="stable")
        ranking = [(manifest.classes[k], float(probabilities_K[k])) for k in order]
        confidence = ranking[0][1]
        prediction = Prediction(
            id=new_id(),
            image=digest,
            version=manifest.version,
            label=ranking[0][0],
            confidence=confidence,
            margin=confidence - ranking[1][1] if len(ranking) > 1 else 1.0,
            created_at=time.time(),
        )
        below = manifest.abstain_below
        return Answer(prediction, ranking, abstains=below is not None and confidence < below)
