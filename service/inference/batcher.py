"""The batcher: inputs that are queued go through the model together. Experimental.

On a GPU, a run of many images takes little longer than a run of one. No image waits for others:
those that arrive while a batch runs form the next one. All images of a batch use the same version.
They are decoded before they are queued.

B images of an item or of a batch.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from core.errors import DeadlineExceeded, InvalidRequest, NotReady
from core.inputs import kinds
from core.inputs.kind import Array
from core.models.servable import Scores, Servable
from service import metrics
from service.traffic.admission import Deadline

# Larger requests are cut into items of so many images, so that others come in between.
_MAX_ITEM = 8

log = logging.getLogger(__name__)


def sizes(max_batch: int) -> tuple[int, ...]:
    """The sizes that batches are padded to on a GPU. They are few: each holds the weights again."""
    return tuple(sorted({1, -(-max_batch // 4), max_batch}))


@dataclass(eq=False, slots=True)
class _Item:
    servable: Servable
    batch: Array
    deadline: Deadline | None
    done: Future[Scores] = field(default_factory=Future)

    def start(self) -> bool:
        """Return whether a client still waits for it. It can no longer be cancelled."""
        if not self.done.set_running_or_notify_cancel():
            return False
        if self.deadline is not None:
            try:
                self.deadline.check()
            except DeadlineExceeded as error:
                self.done.set_exception(error)
                return False
        return True


class Batcher:
    """One thread, which runs the model for all requests."""

    def __init__(self, max_batch: int) -> None:
        self.max_batch = max_batch
        self._queue: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    async def predict(
        self, servable: Servable, batch: Array, deadline: Deadline | None = None
    ) -> Scores:
        """The scores of these inputs, in order, as `servable.predict` gives them.

        A call that is cancelled before its batch starts is not run. Raises DeadlineExceeded,
        InvalidRequest, NotReady, and what the model raises.
        """
        pieces = self._submit(servable, batch, deadline)
        try:
            scores = await asyncio.gather(*map(asyncio.wrap_future, pieces))
        finally:
            for piece in pieces:
                piece.cancel()
        return scores[0] if len(scores) == 1 else Scores.join(scores)

    def stop(self) -> None:
        """Run what is queued, then end."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _submit(
        self, servable: Servable, batch: Array, deadline: Deadline | None
    ) -> list[Future[Scores]]:
        problem = servable.manifest.input_spec.problem_of(batch)
        if problem is not None:
            raise InvalidRequest(f"version {servable.version} cannot take this batch: {problem}")
        size = min(_MAX_ITEM, self.max_batch)
        items = [
            _Item(servable, batch[start : start + size], deadline)
            for start in range(0, len(batch), size)
        ]
        with self._changed:
            if self._is_stopped:
                raise NotReady("the service is stopping; try again in a second")
            self._queue.extend(items)
            self._changed.notify()
        return [item.done for item in items]

    def _run(self) -> None:
        while self._has_more():
            # The batch has no name here: it would keep its version loaded until the next request.
            self._score(self._take())

    def _has_more(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_stopped)
            return bool(self._queue)

    def _take(self) -> list[_Item]:
        """The oldest item, and those after it that fit into a batch with it. So no version waits
        for ever, and the items of each version keep their order."""
        batch: list[_Item] = []
        others: list[_Item] = []
        room = self.max_batch
        with self._changed:
            while self._queue and room:
                item = self._queue.popleft()
                if batch and item.servable is not batch[0].servable:
                    others.append(item)
                elif len(item.batch) > room:
                    others.append(item)
                    break
                elif item.start():
                    batch.append(item)
                    room -= len(item.batch)
            self._queue.extendleft(reversed(others))
        return batch

    def _score(self, batch: Sequence[_Item]) -> None:
        if not batch:
            return
        try:
            scores = _predict(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].done.set_exception(error)
                return
            # One of them may be the cause, or the size of the batch. The others must not fail.
            log.warning("batch.failed", extra={"count": len(batch), "error": str(error)})
            for item in batch:
                self._score([item])
            return
        start = 0
        for item in batch:
            stop = start + len(item.batch)
            item.done.set_result(scores.part(start, stop))
            start = stop


def _predict(items: Sequence[_Item]) -> Scores:
    servable = items[0].servable
    kind = kinds.of_spec(servable.manifest.input_spec)
    batch = kind.join([item.batch for item in items])
    metrics.batch_size.observe(len(batch))
    return servable.predict(batch)
