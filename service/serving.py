"""One serving process: its store, its slot, and the way of a prediction through them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from core.answer import Answer, answer
from core.bootstrap import ensure_first_version
from core.errors import EvergreenError
from core.pixels import Limits
from core.servable import Runtime, Servable
from core.settings import Settings
from core.store import Store, open_store
from service import metrics
from service.admission import Admission, Deadline
from service.recorder import Recorder
from service.shadow_recorder import ShadowRecorder
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
        self.swap = Swap(store, self.runtime, self.slot, settings.shadow)
        self.admission = Admission(settings.max_in_flight, settings.max_wait_s)
        self.started_at = time.time()
        self._recorder = Recorder(store)
        self._shadow_recorder = ShadowRecorder(store, self.swap.shadows)
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
        self._shadow_recorder.stop()
        self.store.db.close()

    async def predict(
        self, image: bytes, deadline: Deadline | None = None, version: int | None = None
    ) -> Answer:
        """Answer with the champion of this moment, or with the version that is pinned. Raises
        UndecodableImage, ImageTooLarge, Overloaded, DeadlineExceeded, NotReady, VersionNotLoaded,
        StoreError."""
        with self.admission.admitted(1, deadline):
            return await self._answer(await self.servable(version), image, deadline)

    async def predict_many(
        self,
        images: Sequence[bytes],
        deadline: Deadline | None = None,
        version: int | None = None,
    ) -> list[Answer | EvergreenError]:
        """Answer all with one version, in order; an image that cannot be gets its own error.

        Raises Overloaded, NotReady, VersionNotLoaded.
        """
        with self.admission.admitted(len(images), deadline):
            servable = await self.servable(version)

            async def answer_one(image: bytes) -> Answer | EvergreenError:
                try:
                    return await self._answer(servable, image, deadline)
                except EvergreenError as error:
                    return error

            return list(await asyncio.gather(*map(answer_one, images)))

    async def servable(self, version: int | None) -> Servable:
        """The version that is pinned, or the champion. Raises VersionNotLoaded, NotReady."""
        return await self.champion() if version is None else self.swap.loaded.pinned(version)

    async def champion(self) -> Servable:
        """The version to answer with at this moment. Raises NotReady."""
        if self.swap.is_stale:
            await self.run(self.swap.confirm)
        return self.slot.current()

    async def _answer(self, servable: Servable, image: bytes, deadline: Deadline | None) -> Answer:
        found = await self.run(self._work, servable, image, deadline)
        await asyncio.wrap_future(self._recorder.record(found.prediction))
        if servable is self.slot.current():
            self._shadow_recorder.follow(servable, found)
        metrics.predictions.inc()
        if found.abstains:
            metrics.abstentions.inc()
        return found

    def _work(self, servable: Servable, image: bytes, deadline: Deadline | None) -> Answer:
        if deadline is not None:
            deadline.check()
        return answer(servable, image, self.store.blobs, self.limits, time.time())

    async def run(self, work: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Do work in the threads of the predictions: they bound how much is done at once."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
