"""Activations at the freeze boundary: computed once for each photo and view, then read from disk.

Augmentation changes pixels, so the frozen blocks give another activation for each variant. A fixed
number of variants, the *views*, is drawn for each photo and cached in half precision in a
memory-mapped file. Each of the first epochs fills one view of all photos. Later epochs mix the
views at random, row by row. Views that are not cached are computed in every epoch.

N rows, B batch, V views; `_...` stands for the axes of one activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.blocks.cache_file import CacheFile, to_half
from training.blocks.device import Compute, embedding_batch, learning_batch
from training.blocks.images.augment import MIXUP_ALPHA, Augmentation, mixup
from training.blocks.tail import Tail


class PixelActivations:
    def __init__(
        self,
        tail: Tail,
        compute: Compute,
        pixels_NHWC: NDArray[np.uint8],
        rows_N: NDArray[np.intp],
        augmentation: Augmentation,
        file: Path,
        *,
        num_views: int,
        limit_mb: float,
        memory_mb: int,
    ) -> None:
        """Hold `rows_N` of the photos. This object owns `file` and the file beside it that lists
        the filled views."""
        self._tail, self._compute = tail, compute
        self._pixels_NHWC, self._rows_N = pixels_NHWC, rows_N
        self._augmentation = augmentation
        first = self._pixels(0, np.zeros(1, np.intp))
        self._memory_mb = compute.memory_mb(memory_mb)
        self.batch_size = embedding_batch(tail.backbone, tail.frozen, first, self._memory_mb)
        self.example = self._compute_activation(0, np.zeros(1, np.intp))
        self._shape = _channels_last(self.example).shape[1:]
        self._microbatch = 1
        self._cache = CacheFile(
            file,
            len(rows_N) * self.example.numel(),
            min(num_views, 1) if augmentation.strength == "none" else num_views,
            limit_mb,
            f"{len(rows_N):,} photos",
        )
        self.notes = self._cache.notes

    def __len__(self) -> int:
        return len(self._rows_N)

    @property
    def num_views(self) -> int:
        return self._cache.num_views

    @property
    def num_unfilled(self) -> int:
        return self._cache.num_unfilled

    @property
    def megabytes(self) -> float:
        return self._cache.megabytes

    def prepare(self, batch_size: int) -> None:
        self._microbatch = learning_batch(self._tail, self.example, batch_size, self._memory_mb)

    def views(self, epoch: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return the view of each row for an epoch. Without a cache, each epoch has a new view."""
        if self.num_views == 0 or epoch < self.num_views:
            return np.full(len(self), epoch, np.intp)
        return rng.integers(self.num_views, size=len(self))

    def fill(self, view: int, check: Callable[[], None]) -> None:
        """Compute a view of all rows if it is cached and not filled yet.

        `check` is called between batches, and may raise.
        """
        stored_VN = self._cache.stored(len(self), *self._shape)
        if stored_VN is None or not self._cache.is_to_fill(view):
            return
        # In the order of the rows and not of training. Convolutions round differently in other
        # batches, and a resumed run must get the same bits.
        for start in range(0, len(self), self.batch_size):
            check()
            at_B = np.arange(start, min(start + self.batch_size, len(self)))
            half = to_half(_channels_last(self._compute_activation(view, at_B)))
            if half is None:
                self._cache.give_up("activations at this block are too large for half precision")
                return
            stored_VN[view, at_B] = half
        self._cache.mark_filled(view)

    def batch(self, view_B: NDArray[np.intp], at_B: NDArray[np.intp]) -> Tensor:
        """Return the activations [B, ...], float32, of the views `view_B` of the rows `at_B`.

        A cached view must be filled. Without a cache, all rows of a batch have one view.
        """
        stored_VN = self._cache.stored(len(self), *self._shape)
        if stored_VN is None:
            return self._compute_activation(int(view_B[0]), at_B)
        half = torch.from_numpy(stored_VN[view_B, at_B])
        return _channels_first(half.to(self._compute.device).float())

    def microbatches(
        self,
        view_B: NDArray[np.intp],
        at_B: NDArray[np.intp],
        target_BK: Tensor,
        rng: np.random.Generator,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        activation = self.batch(view_B, at_B)
        alpha = MIXUP_ALPHA.get(self._augmentation.strength)
        if alpha is not None:
            activation, target_BK = mixup(activation, target_BK, alpha, rng)
        size = self._microbatch
        yield from zip(activation.split(size), target_BK.split(size), strict=True)

    def batches(self) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        for start in range(0, len(self), self.batch_size):
            at_B = np.arange(start, min(start + self.batch_size, len(self)))
            yield at_B, self.batch(np.zeros_like(at_B), at_B)

    def delete(self) -> None:
        self._cache.delete()

    def _pixels(self, view: int, at_B: NDArray[np.intp]) -> Tensor:
        rows_B = self._rows_N[at_B]
        varied = self._augmentation(self._pixels_NHWC[rows_B], view, rows_B.tolist())
        return varied.to(self._compute.device)

    def _compute_activation(self, view: int, at_B: NDArray[np.intp]) -> Tensor:
        with self._compute.autocast():
            return self._tail.frozen(self._pixels(view, at_B)).float()


def _channels_last(activation: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H, W, C], the order in which convolutions on a CPU are fastest."""
    return activation.permute(0, 2, 3, 1) if activation.ndim == 4 else activation


def _channels_first(activation: Tensor) -> Tensor:
    return activation.permute(0, 3, 1, 2) if activation.ndim == 4 else activation
