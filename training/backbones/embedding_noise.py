"""Measures how far the embeddings of rounded backbones are from those of the exact one. No torch.

Axes: N photos, H/W pixels, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.models.backbones import Backbone, Runtime

# Called after every photo that a model has computed, with their number so far. An error that it
# raises ends the work.
OnPhotos = Callable[[int], None]


class Counter:
    """Counts the photos that all models of one piece of work have computed."""

    def __init__(self, on_photos: OnPhotos) -> None:
        self._on_photos, self._done = on_photos, 0

    def __call__(self) -> None:
        self._done += 1
        self._on_photos(self._done)


def added_noise(
    exact: bytes, rounded: dict[int, bytes], photos_NHWC: NDArray[np.uint8], counted: Counter
) -> dict[int, float]:
    """Return the squared error of each rounded backbone, over the variance of exact embeddings."""
    exact_ND = _embed(exact, photos_NHWC, counted)
    variance = np.square(exact_ND - exact_ND.mean(axis=0)).sum()
    return {
        key: float(np.square(_embed(model, photos_NHWC, counted) - exact_ND).sum() / variance)
        for key, model in rounded.items()
    }


def _embed(model: bytes, photos_NHWC: NDArray[np.uint8], counted: Counter) -> NDArray[np.float64]:
    backbone = Backbone(model, "", Runtime("cpu"))
    rows = []
    for i in range(len(photos_NHWC)):
        rows.append(backbone.embed(photos_NHWC[i : i + 1]).astype(np.float64))
        counted()
    return np.concatenate(rows)
