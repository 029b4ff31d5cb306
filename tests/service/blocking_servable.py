"""Versions that can be blocked in the middle of a batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from core.models.servable import Scores, Servable
from service.inference.batcher import Batcher

# A batch may be added up in another order than one image.
ATOL = 1e-5
WITHIN_S = 30.0
POISON = 255


class BlockingServable(Servable):
    """A version that records its batches, can be blocked, and fails for white images."""

    def __init__(self, loaded: Servable) -> None:
        super().__init__(loaded.manifest, loaded.backbone, loaded._head)
        self.batches: list[int] = []
        self.is_running = threading.Event()
        self.may_go = threading.Event()
        self.may_go.set()

    def predict(self, pixels_BHWC: NDArray[np.uint8]) -> Scores:
        self.batches.append(len(pixels_BHWC))
        self.is_running.set()
        assert self.may_go.wait(WITHIN_S)
        if (pixels_BHWC == POISON).all(axis=(1, 2, 3)).any():
            raise RuntimeError("a white image")
        return super().predict(pixels_BHWC)


@asynccontextmanager
async def busy(batcher: Batcher, version: BlockingServable) -> AsyncIterator[None]:
    """While a batch runs: images that are sent inside are queued until this ends."""
    version.is_running.clear()
    version.may_go.clear()
    first = asyncio.create_task(batcher.predict(version, noise(1, seed=999)))
    assert await asyncio.to_thread(version.is_running.wait, WITHIN_S)
    try:
        yield
    finally:
        version.may_go.set()
    await first
    version.batches.pop(0)


async def queued(
    *asked: tuple[Batcher, BlockingServable, NDArray[np.uint8]],
) -> list[asyncio.Task[Scores]]:
    """Send in this order; returns when all are queued."""
    tasks = [asyncio.create_task(b.predict(version, pixels)) for b, version, pixels in asked]
    await asyncio.sleep(0)
    return tasks


def noise(num: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 250, (num, 8, 8, 3), dtype=np.uint8)


def assert_same(found: Scores, expected: Scores) -> None:
    np.testing.assert_allclose(found.embedding_BD, expected.embedding_BD, rtol=0, atol=ATOL)
    np.testing.assert_allclose(found.logits_BK, expected.logits_BK, rtol=0, atol=ATOL)
    np.testing.assert_allclose(found.probabilities_BK, expected.probabilities_BK, rtol=0, atol=ATOL)
