"""The learning rate and the rows of each step of a distillation. Loads no torch."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_FIRST_RATE = 0.02


def rate(fraction: float, warmup_share: float) -> float:
    """Return the share of the full learning rate: a linear warm-up, then half a cosine to 0."""
    if fraction < warmup_share:
        return max(_FIRST_RATE, fraction / warmup_share)
    return 0.5 * (1 + math.cos(math.pi * (fraction - warmup_share) / (1 - warmup_share)))


def batch_rows(count: int, batch: int, seed: int, step: int) -> NDArray[np.intp]:
    """Choose the rows of a step. Every epoch has a new order of all rows, in full batches only."""
    epoch, at = divmod(step, max(1, count // batch))
    return np.sort(_order(count, seed, epoch)[at * batch : (at + 1) * batch])


@lru_cache(maxsize=1)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    return np.random.default_rng((seed, epoch)).permutation(count)
