"""The batcher from one event loop to the next, and what it is filled up to."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from core.errors import NotReady
from core.models.backbones import Backbone, Runtime
from core.models.servable import Scores, Servable
from service.inference.batcher import Batcher, sizes
from tests.service.blocking_servable import (
    WITHIN_S,
    BlockingServable,
    assert_same,
    busy,
    noise,
    queued,
)
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in `make check`


def test_batcher_serves_one_event_loop_after_another(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable]
) -> None:
    """A loop that ended in the middle of a batch leaves nothing behind that holds up the next."""
    one = make_blocking(1)

    async def leave() -> None:
        one.may_go.clear()
        await queued((batcher, one, noise(1, 0)))
        assert await asyncio.to_thread(one.is_running.wait, WITHIN_S)

    asyncio.run(leave())
    one.may_go.set()
    assert_same(asyncio.run(batcher.predict(one, noise(1, 1))), one.predict(noise(1, 1)))


def test_stop_runs_what_is_queued_and_refuses_more(
    make_blocking: Callable[[int], BlockingServable],
) -> None:
    batcher, one = Batcher(max_batch=4), make_blocking(1)

    async def run() -> None:
        async with busy(batcher, one):
            tasks = await queued(*((batcher, one, noise(1, i)) for i in range(6)))
            stopping = asyncio.create_task(asyncio.to_thread(batcher.stop))
        await asyncio.gather(*tasks)
        await stopping
        with pytest.raises(NotReady, match="stopping"):
            await batcher.predict(one, noise(1, 0))

    asyncio.run(run())


def test_unloaded_version_is_not_kept(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable]
) -> None:
    one = make_blocking(1)
    asyncio.run(batcher.predict(one, noise(1, 0)))
    gone = weakref.ref(one)
    del one
    asyncio.run(batcher.predict(make_blocking(2), noise(1, 0)))  # it drops the first
    gc.collect()
    assert gone() is None


def test_padded_batches_give_the_same_scores(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable]
) -> None:
    """As on a GPU: the backbone is run with few sizes only."""
    one = make_blocking(1)
    sized = Backbone(tiny.backbone_onnx(), "", Runtime("cpu"), sizes(batcher.max_batch))
    filled = BlockingServable(Servable(one.manifest, sized, one._head))

    async def run() -> list[Scores]:
        async with busy(batcher, filled):
            tasks = await queued(*((batcher, filled, noise(n, n)) for n in (1, 2, 1, 3)))
        return await asyncio.gather(*tasks)

    for num, scores in zip((1, 2, 1, 3), asyncio.run(run()), strict=True):
        assert_same(scores, one.predict(noise(num, num)))
    assert filled.batches == [4, 3]


@pytest.mark.parametrize(
    ("max_batch", "expected"), [(1, (1,)), (2, (1, 2)), (8, (1, 2, 8)), (32, (1, 8, 32))]
)
def test_batches_are_padded_to_few_sizes(max_batch: int, expected: tuple[int, ...]) -> None:
    assert sizes(max_batch) == expected
