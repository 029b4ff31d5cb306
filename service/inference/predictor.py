"""One serving process: its store, its slot, and the way of a prediction through them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import EvergreenError
from core.inputs import pixels
from core.inputs.pixels import Limits
from core.models.backbones import Runtime
from core.models.manifest import Manifest
from core.models.onnx_sessions import num_usable_gpus
from core.models.servable import Scores, Servable
from core.predict import PredictionResult, build_prediction, score_image
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import Store, open_store
from core.system.host import available_cores, this_host
from service import metrics
from service.inference import batcher
from service.inference.batcher import Batcher
from service.inference.recorder import Recorder
from service.inference.shadow_recorder import ShadowRecorder
from service.processes import placement
from service.processes.wal_checkpoints import Checkpoints
from service.swap.file_semaphore import Turns
from service.swap.slot import Slot
from service.swap.swap import Swap
from service.traffic.admission import Admission, Deadline
from service.traffic.forwarding import Sharing

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")
# Images in one run of onnxruntime: it needs the memory of so few, and predictions come between.
_AT_ONCE = 8


class Serving:
    def __init__(self, settings: Settings, store: Store, gpu: int = 0) -> None:
        self.settings = settings
        self.store = store
        self.limits = Limits(max_pixels=settings.max_pixels)
        sizes = batcher.sizes(settings.max_batch)
        self.runtime = Runtime(settings.provider, settings.threads, gpu=gpu, batch_sizes=sizes)
        is_batching = settings.batching == "on" or (
            settings.batching == "auto" and self.runtime.is_on_gpu
        )
        self.batcher = Batcher(settings.max_batch) if is_batching else None
        self.slot = Slot()
        boards = settings.boards / this_host()
        turns = Turns(boards, at_once=max(1, available_cores() // 2))
        self.swap = Swap(store, self.runtime, self.slot, settings.shadow, turns)
        self.admission = Admission(settings.max_in_flight, settings.max_wait_s)
        self.started_at = time.time()
        self._checkpoints = Checkpoints(store.db)
        self._shadow_recorder = ShadowRecorder(store, self.swap.shadows)
        num_gpus = num_usable_gpus(settings.provider) if self.runtime.is_on_gpu else 0
        self.at_once = placement.num_computing(settings, num_gpus, available_cores())
        self._computing = ThreadPoolExecutor(self.at_once, thread_name_prefix="compute")
        num_keeping = placement.num_keeping(settings, is_batching=is_batching)
        # None: who computes an image keeps it, too. Another thread would find nothing of it in its
        # core's caches, and two that take turns find nothing of the model (`bench/RESULTS.md`).
        self._keeping = (
            ThreadPoolExecutor(num_keeping, thread_name_prefix="keep") if num_keeping else None
        )
        self._recorder = Recorder(store)
        self.sharing: Sharing | None = None

    @staticmethod
    def start(settings: Settings, gpu: int = 0) -> Serving:
        """Open the store, publish version 1 if there is none, load the champion, and follow it."""
        store = open_store(settings)
        ensure_first_version(store)
        serving = Serving(settings, store, gpu)
        serving.swap.start()
        serving._checkpoints.start()
        return serving

    def stop(self) -> None:
        self.swap.stop()
        self._computing.shutdown(wait=True)
        if self.batcher is not None:
            self.batcher.stop()
        if self._keeping is not None:
            self._keeping.shutdown(wait=True)
        self._shadow_recorder.stop()
        self._checkpoints.stop()
        self.store.db.close()

    async def predict(
        self,
        image: bytes,
        deadline: Deadline | None = None,
        version: int | None = None,
    ) -> PredictionResult:
        """Answer with the champion of this moment, or with the version that is pinned.

        Raises UndecodableImage, ImageTooLarge, DeadlineExceeded, NotReady, VersionNotLoaded,
        StoreError.
        """
        return await self._answer(await self.servable(version), image, deadline)

    async def predict_many(
        self,
        images: Sequence[bytes],
        deadline: Deadline | None = None,
        version: int | None = None,
    ) -> list[PredictionResult | EvergreenError]:
        """Answer all with one version, in order; an image that cannot be gets its own error.

        Raises NotReady, VersionNotLoaded.
        """
        servable = await self.servable(version)

        async def answer_one(image: bytes) -> PredictionResult | EvergreenError:
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
            await _run(self._keeping or self._computing, self.swap.confirm)
        return self.slot.current()

    async def _answer(
        self, servable: Servable, image: bytes, deadline: Deadline | None
    ) -> PredictionResult:
        now = time.time()
        if self._keeping is None:
            found = await self.compute(self._see_and_keep, servable, image, now, deadline=deadline)
        else:
            scores = await self._see(servable, image, deadline)
            found = await _run(self._keeping, self._keep, servable.manifest, image, scores, now)
        if servable is self.slot.current():
            self._shadow_recorder.follow(servable, found)
        metrics.predictions.inc()
        if found.abstains:
            metrics.abstentions.inc()
        return found

    async def score(
        self, servable: Servable, pixels_BHWC: NDArray[np.uint8], deadline: Deadline | None
    ) -> Scores:
        """Of several images, in order. Raises DeadlineExceeded."""
        if self.batcher is not None:
            return await self.batcher.predict(servable, pixels_BHWC, deadline)

        starts = range(0, len(pixels_BHWC), _AT_ONCE)
        return Scores.join(
            [
                await self.compute(
                    servable.predict, pixels_BHWC[start : start + _AT_ONCE], deadline=deadline
                )
                for start in starts
            ]
        )

    async def _see(self, servable: Servable, image: bytes, deadline: Deadline | None) -> Scores:
        if self.batcher is None:
            return await self.compute(score_image, servable, image, self.limits, deadline=deadline)
        pixels_HWC = await self.compute(
            pixels.decode, image, servable.manifest.pixels, self.limits, deadline=deadline
        )
        return await self.batcher.predict(servable, pixels_HWC[np.newaxis], deadline)

    def _see_and_keep(self, servable: Servable, image: bytes, now: float) -> PredictionResult:
        scores = score_image(servable, image, self.limits)
        return self._keep(servable.manifest, image, scores, now)

    def _keep(
        self, manifest: Manifest, image: bytes, scores: Scores, now: float
    ) -> PredictionResult:
        found = build_prediction(manifest, image, scores, self.store.blobs, now)
        self._recorder.record(found.prediction)
        return found

    async def compute(
        self,
        work: Callable[[*_Args], _Result],
        *args: *_Args,
        deadline: Deadline | None = None,
    ) -> _Result:
        """Do work in a thread; of these there are no more than cores for this process, so it may
        have to wait for one. Raises DeadlineExceeded if it would begin too late."""

        if deadline is None:
            return await _run(self._computing, work, *args)

        def in_time() -> _Result:
            deadline.check()
            return work(*args)

        return await _run(self._computing, in_time)


async def _run(
    pool: ThreadPoolExecutor, work: Callable[[*_Args], _Result], *args: *_Args
) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(pool, work, *args)
