"""The way of an input through a worker: decode, score, record.

The thread that decodes an input also scores it, unless there is a batcher. It also records the
prediction, unless the store is remote or there is a batcher: then an I/O thread does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple

import numpy as np

from core.errors import EvergreenError
from core.inputs.kind import Array, Decoded, Limits
from core.models.servable import Scores, Servable
from core.predict import PredictionResult, build_prediction
from core.retention.capture import Capture
from core.store.store import Store
from service import metrics
from service.inference.batcher import Batcher
from service.inference.recorder import Recorder
from service.inference.shadow_recorder import ShadowRecorder
from service.swap.slot import Slot
from service.swap.swap import Swap
from service.traffic.admission import Deadline, Ticket

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")
# Inputs in one run of onnxruntime: it needs the memory of so few, and predictions come between.
_MAX_RUN = 8


class Predictor:
    def __init__(
        self,
        store: Store,
        slot: Slot,
        swap: Swap,
        limits: Limits,
        *,
        recorder: Recorder,
        capture: Capture,
        max_parallel: int,
        num_io_threads: int,
        batcher: Batcher | None = None,
    ) -> None:
        """`max_parallel` inputs are computed in parallel. Without I/O threads, which a batcher
        needs, the thread that computes a prediction also records it."""
        self._clock = store.db.clock
        self._kind = store.kind
        self._slot = slot
        self._swap = swap
        self._limits = limits
        self._capture = capture
        self.max_parallel = max_parallel
        self.batcher = batcher
        # Inputs of one request: while some are computed, the next ones are at hand.
        self._most_at_a_time = 2 * (batcher.max_batch if batcher else max_parallel)
        self._compute_pool = ThreadPoolExecutor(max_parallel, thread_name_prefix="compute")
        self._io_pool = (
            ThreadPoolExecutor(num_io_threads, thread_name_prefix="io") if num_io_threads else None
        )
        # Without a pool, a step runs in the thread that it is in.
        self._step_pool = self._compute_pool if self._io_pool else None
        self._score = batcher.predict if batcher else self._score_in_thread
        self.recorder = recorder
        self._shadow_recorder = ShadowRecorder(store, swap.shadows)

    def stop(self) -> None:
        """Finish what has begun."""
        self._compute_pool.shutdown(wait=True)
        if self.batcher is not None:
            self.batcher.stop()
        if self._io_pool is not None:
            self._io_pool.shutdown(wait=True)
        self._shadow_recorder.stop()

    async def servable(self, version: int | None = None) -> Servable:
        """The pinned version, or the champion of this moment. Raises VersionNotLoaded, NotReady."""
        if version is not None:
            return self._swap.loaded.get_pinned(version)
        if self._swap.is_stale:
            await asyncio.to_thread(self._swap.ensure_fresh)
        return self._slot.current()

    async def predict(
        self, servable: Servable, content: bytes, deadline: Deadline | None = None
    ) -> PredictionResult:
        """Predict, and record the prediction.

        Raises InputError, NoClasses, DeadlineExceeded.
        """
        steps = self._decode_score_record
        if self._io_pool is None:
            # One thread takes all steps: its core has the image and the model in its caches, and
            # no step waits for the event loop.
            result = await self.compute(
                _run_to_end, steps, servable, content, deadline, deadline=deadline
            )
        else:
            result = await steps(servable, content, deadline)
        if self._swap.shadows.current and servable is self._slot.current():
            self._shadow_recorder.follow(servable, result)
        metrics.predictions.inc()
        if result.abstains:
            metrics.abstentions.inc()
        if result.prediction.unfamiliar:
            metrics.unfamiliar.inc()
        return result

    async def _decode_score_record(
        self, servable: Servable, content: bytes, deadline: Deadline | None
    ) -> PredictionResult:
        decoded = await self._decode(servable, content, deadline)
        scores = await self._score(servable, decoded.array[np.newaxis], deadline)
        return await self._record(servable, content, decoded, scores)

    async def _decode(
        self, servable: Servable, content: bytes, deadline: Deadline | None
    ) -> Decoded:
        decode = _in_time(deadline, servable.reader.decode)
        return await _run(self._step_pool, decode, content, self._limits)

    async def _score_in_thread(
        self, servable: Servable, batch: Array, deadline: Deadline | None
    ) -> Scores:
        return await _run(self._step_pool, _in_time(deadline, servable.predict), batch)

    async def _record(
        self, servable: Servable, content: bytes, decoded: Decoded, scores: Scores
    ) -> PredictionResult:
        def record() -> PredictionResult:
            # Before it is hashed, so that what follows an image in its file is not kept.
            kept = self._kind.kept(content)
            now = self._clock()
            result = build_prediction(servable.manifest, kept, decoded, scores, self._capture, now)
            prediction = result.prediction
            is_kept = prediction.kept_bytes is not None
            if not is_kept:
                metrics.images_not_kept.labels(prediction.capture).inc()
            self.recorder.record(prediction, kept if is_kept else b"")
            return result

        return await _run(self._io_pool, record)

    async def predict_many(
        self,
        servable: Servable,
        contents: Sequence[bytes | EvergreenError],
        ticket: Ticket,
        deadline: Deadline | None = None,
    ) -> list[PredictionResult | EvergreenError]:
        """Predict all with one version, in order. An input that fails gets its own error, as does
        one that came as an error.

        A few are in flight at a time, so that other requests are admitted, and come in between.
        """
        results: dict[int, PredictionResult | EvergreenError] = {}
        waiting = iter(enumerate(contents))

        async def work() -> None:
            for i, content in waiting:
                try:
                    if isinstance(content, EvergreenError):
                        raise content
                    with ticket.of_one():
                        results[i] = await self.predict(servable, content, deadline)
                except EvergreenError as error:
                    results[i] = error

        ticket.resize(0)
        await asyncio.gather(*(work() for _ in range(self._most_at_a_time)))
        return [results[i] for i in range(len(contents))]

    async def score_batch(
        self, servable: Servable, batch: Array, deadline: Deadline | None
    ) -> Scores:
        """Score inputs in order, and record nothing. Raises DeadlineExceeded."""
        if self.batcher is not None:
            return await self.batcher.predict(servable, batch, deadline)
        parts = [
            await self.compute(servable.predict, batch[start : start + _MAX_RUN], deadline=deadline)
            for start in range(0, len(batch), _MAX_RUN)
        ]
        return Scores.join(parts)

    async def compute(
        self,
        work: Callable[[*_Args], _Result],
        *args: *_Args,
        deadline: Deadline | None = None,
    ) -> _Result:
        """Do work in a compute thread. There are no more of them than cores for this process, so
        it may wait for one. Raises DeadlineExceeded if it would start too late."""
        return await _run(self._compute_pool, _in_time(deadline, work), *args)


async def _run(
    pool: ThreadPoolExecutor | None, work: Callable[[*_Args], _Result], *args: *_Args
) -> _Result:
    """In a thread of the pool; in this thread without a pool."""
    if pool is None:
        return work(*args)
    return await asyncio.get_running_loop().run_in_executor(pool, work, *args)


def _in_time(
    deadline: Deadline | None, work: Callable[[*_Args], _Result]
) -> Callable[[*_Args], _Result]:
    """The work, which raises DeadlineExceeded if it starts too late."""
    if deadline is None:
        return work

    def check_and_work(*args: *_Args) -> _Result:
        deadline.check()
        return work(*args)

    return check_and_work


def _run_to_end(steps: Callable[[*_Args], Coroutine[Any, Any, _Result]], *args: *_Args) -> _Result:
    """Run a coroutine that never waits, without an event loop."""
    coroutine = steps(*args)
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    coroutine.close()
    raise RuntimeError("a step waited, although one thread takes all steps")
