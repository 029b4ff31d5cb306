"""Scores of versions on the held-out examples, computed when they are asked for.

One thread of low priority computes them, one request after the other. Those of the newest labels
are kept, so that a second look costs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future

from core.errors import Overloaded
from core.labelling import labels
from core.models.backbones import Runtime
from core.review.comparing import version_scores
from core.review.comparing.version_scores import HeldOut, VersionScores
from core.store.store import Store
from core.system.daemon_pool import DaemonPool
from core.system.priority import yield_to_others

#: A request waits no longer, neither for its own scores nor for those before it.
PATIENCE_S = 15.0
_MAX_QUEUED = 4
# 20,000 examples take 160 kB a version.
_MAX_KEPT = 16
# Embeddings that are missing may be stored meanwhile.
_INCOMPLETE_FOR_S = 5.0

Scored = tuple[HeldOut, list[VersionScores]]


class VersionScorer:
    """Of one event loop."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime
        self._thread = DaemonPool(1, "scores")
        self._num_queued = 0
        # Only the thread uses these.
        self._held_out: HeldOut | None = None
        self._kept: OrderedDict[int, tuple[float, VersionScores]] = OrderedDict()

    async def scores(self, numbers: Sequence[int]) -> Scored:
        """Score versions on the same examples.

        Raises Overloaded if it takes too long: it is computed all the same, for the next request.
        Raises what `version_scores.score` raises.
        """
        if self._num_queued >= _MAX_QUEUED:
            raise _busy()
        self._num_queued += 1
        computing: Future[Scored] = self._thread.submit(self._score_all, tuple(numbers))
        waiting = asyncio.wrap_future(computing)
        waiting.add_done_callback(self._note_done)
        done, _ = await asyncio.wait({waiting}, timeout=PATIENCE_S)
        if not done:
            raise _busy()
        return waiting.result()

    def _note_done(self, done: asyncio.Future[Scored]) -> None:
        self._num_queued -= 1
        if not done.cancelled():
            done.exception()  # so that nobody has to ask for it

    def _score_all(self, numbers: Sequence[int]) -> Scored:
        yield_to_others()
        held_out = self._newest_held_out()
        return held_out, [self._score(number, held_out) for number in numbers]

    def _newest_held_out(self) -> HeldOut:
        with self._store.db.read() as conn:
            newest = labels.newest_id(conn)
            if self._held_out is None or self._held_out.newest_label != newest:
                self._held_out = version_scores.read_held_out(conn)
                self._kept.clear()
            return self._held_out

    def _score(self, number: int, held_out: HeldOut) -> VersionScores:
        known = self._kept.get(number)
        if known is not None:
            since, scores = known
            if scores.is_complete or time.monotonic() < since + _INCOMPLETE_FOR_S:
                self._kept.move_to_end(number)
                return scores
        scores = version_scores.score(self._store, number, held_out, self._runtime)
        self._kept[number] = time.monotonic(), scores
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return scores


def _busy() -> Overloaded:
    return Overloaded(
        "this process is still comparing versions, one pair at a time; try again in a few seconds"
    )
