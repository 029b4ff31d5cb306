"""How fast a distillation learns at a point of its budget, and from which rows. Loads no torch."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_FIRST_RATE = 0.02


def rate(fraction: float, warmup_share: float) -> float:
    """Warm up linearly, then fall by a cosine to nothing: the share of the full learning rate."""
    if fraction < warmup_share:
        return max(_FIRST_RATE, fraction / warmup_share)
    return 0.5 * (1 + math.cos(math.pi * (fraction - warmup_share) / (1 - warmup_share)))


def batch_rows(count: int, batch: int, seed: int, step: int) -> NDArray[np.intp]:
    """Choose the rows of a step: every epoch is a new order of all rows, its rest cut off."""
    epoch, at = divmod(step, max(1, count // batch))
    return np.sort(_order(count, seed, epoch)[at * batch : (at + 1) * batch])


@lru_cache(maxsize=1)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    return np.random.default_rng((seed, epoch)).permutation(count)
