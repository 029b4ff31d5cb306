"""One serving process: its store, its slot, and the way of a prediction through them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from core.answer import Answer, answer
from core.bootstrap import ensure_first_version
from core.pixels import Limits
from core.servable import Runtime
from core.settings import Settings
from core.store import Store, open_store
from service import metrics
from service.recorder import Recorder
from service.slot import Slot
from service.swap import Swap

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


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
        loop = asyncio.get_running_loop()
        if self.swap.is_stale:
            await loop.run_in_executor(self._pool, self.swap.confirm)
        servable = self.slot.current()
        found = await loop.run_in_executor(
            self._pool, answer, servable, image, self.store.blobs, self.limits, time.time()
        )
        await asyncio.wrap_future(self._recorder.record(found.prediction))
        metrics.predictions.inc()
        if found.abstains:
            metrics.abstentions.inc()
        return found

    async def run(self, work: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Do work in the threads of the predictions: they bound how much is done at once."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
