"""The batcher alone, with real models of a kilobyte."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import DeadlineExceeded, InvalidRequest
from core.models.servable import Scores
from service.inference.batcher import Batcher
from service.traffic.admission import Deadline
from tests.service.blocking_servable import (
    POISON,
    BlockingServable,
    assert_same,
    busy,
    noise,
    queued,
)


def test_queued_images_are_batched_up_to_the_limit(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable]
) -> None:
    one = make_blocking(1)
    images = [noise(1, seed) for seed in range(6)]

    async def run() -> list[Scores]:
        async with busy(batcher, one):
            tasks = await queued(*((batcher, one, image) for image in images))
        return await asyncio.gather(*tasks)

    found = asyncio.run(run())
    assert one.batches == [4, 2]
    for image, scores in zip(images, found, strict=True):
        assert_same(scores, one.predict(image))


def test_single_image_does_not_wait_for_others(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable]
) -> None:
    one = make_blocking(1)
    assert_same(asyncio.run(batcher.predict(one, noise(1, 0))), one.predict(noise(1, 0)))
    assert one.batches[0] == 1


def test_batch_is_of_one_version_and_the_oldest_item_goes_first(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable]
) -> None:
    blocker, one, two = make_blocking(9), make_blocking(1), make_blocking(2)
    order: list[tuple[int, int]] = []

    async def run() -> None:
        async with busy(batcher, blocker):
            tasks = await queued(
                *((batcher, version, noise(1, i)) for i, version in enumerate((one, two) * 5))
            )
            for i, task in enumerate(tasks):
                task.add_done_callback(lambda _, i=i: order.append((i % 2 + 1, i)))
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert (one.batches, two.batches) == ([4, 1], [4, 1])
    # Each version in its order, and neither before the other's oldest is done.
    assert [i for _, i in order] == [0, 2, 4, 6, 1, 3, 5, 7, 8, 9]


def test_concurrent_versions_each_score_their_own_images(
    make_blocking: Callable[[int], BlockingServable],
) -> None:
    """As in the middle of swaps, with pins beside them."""
    batcher = Batcher(max_batch=16)
    versions = [make_blocking(number) for number in (1, 2, 3)]
    rng = random.Random(0)
    asked = [(rng.choice(versions), noise(rng.choice((1, 1, 1, 3)), i)) for i in range(400)]

    async def ask(version: BlockingServable, pixels_BHWC: NDArray[np.uint8]) -> Scores:
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        return await batcher.predict(version, pixels_BHWC)

    async def run() -> list[Scores]:
        return await asyncio.gather(*(ask(*one) for one in asked))

    found = asyncio.run(run())
    batcher.stop()
    sent = {id(v): sum(len(p) for w, p in asked if w is v) for v in versions}
    assert [sum(v.batches) for v in versions] == [sent[id(v)] for v in versions], "each went once"
    assert max(max(v.batches) for v in versions) <= 16
    for (version, pixels_BHWC), scores in zip(asked, found, strict=True):
        assert_same(scores, version.predict(pixels_BHWC))


@pytest.mark.parametrize("num", [2, 4, 5, 64])
def test_images_of_one_request_keep_their_order(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable], num: int
) -> None:
    one = make_blocking(1)
    found = asyncio.run(batcher.predict(one, noise(num, 1)))
    assert max(one.batches) <= 4
    assert_same(found, one.predict(noise(num, 1)))


def test_small_request_does_not_wait_for_all_of_a_large_one(
    make_blocking: Callable[[int], BlockingServable],
) -> None:
    batcher, one = Batcher(max_batch=8), make_blocking(1)
    done: list[str] = []

    async def run() -> None:
        async with busy(batcher, one):
            large, small, larger = await queued(
                (batcher, one, noise(12, 0)),
                (batcher, one, noise(1, 1)),
                (batcher, one, noise(64, 2)),
            )
            for name, task in (("large", large), ("small", small), ("larger", larger)):
                task.add_done_callback(lambda _, name=name: done.append(name))
        await asyncio.gather(large, small, larger)

    asyncio.run(run())
    batcher.stop()
    assert set(done[:2]) == {"large", "small"}
    assert one.batches[:2] == [8, 5]


def test_cancelled_request_is_not_run(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable]
) -> None:
    one = make_blocking(1)

    async def run() -> None:
        async with busy(batcher, one):
            gone, stays = await queued((batcher, one, noise(9, 0)), (batcher, one, noise(1, 1)))
            gone.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert_same(await stays, one.predict(noise(1, 1)))

    asyncio.run(run())
    assert one.batches[0] == 1


def test_item_is_not_run_after_its_deadline(
    batcher: Batcher, make_blocking: Callable[[int], BlockingServable]
) -> None:
    one = make_blocking(1)

    async def run() -> None:
        async with busy(batcher, one):
            over = Deadline(time.monotonic() - 1, 250)
            late = asyncio.create_task(batcher.predict(one, noise(1, 0), over))
            in_time = asyncio.create_task(batcher.predict(one, noise(1, 1), Deadline.after(60_000)))
            await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded, match="250 ms"):
            await late
        await in_time

    asyncio.run(run())
    assert one.batches == [1]


def test_failed_batch_fails_only_the_image_that_caused_it(
    batcher: Batcher,
    make_blocking: Callable[[int], BlockingServable],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = make_blocking(1)
    white = np.full((1, 8, 8, 3), POISON, np.uint8)

    async def run() -> None:
        async with busy(batcher, one):
            asked = (noise(1, 0), white, noise(2, 2))
            first, bad, last = await queued(*((batcher, one, pixels) for pixels in asked))
        with pytest.raises(RuntimeError, match="a white image"):
            await bad
        found = await first, await last
        # Comparing asks the version too.
        assert one.batches == [4, 1, 1, 2]
        assert_same(found[0], one.predict(noise(1, 0)))
        assert_same(found[1], one.predict(noise(2, 2)))
        assert_same(await batcher.predict(one, noise(1, 3)), one.predict(noise(1, 3)))

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == ["batch.failed"]


@pytest.mark.parametrize(
    "pixels_BHWC",
    [
        np.zeros((1, 16, 16, 3), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 3), np.float32),
    ],
)
def test_pixels_that_do_not_fit_the_version_are_refused(
    batcher: Batcher,
    make_blocking: Callable[[int], BlockingServable],
    pixels_BHWC: NDArray[np.uint8],
) -> None:
    one = make_blocking(1)
    with pytest.raises(
        InvalidRequest, match=r"version 1 .*; send uint8 of the shape \[B, 8, 8, 3\]"
    ):
        asyncio.run(batcher.predict(one, pixels_BHWC))
    assert one.batches == []
