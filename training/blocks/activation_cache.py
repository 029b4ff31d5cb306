"""Activations at the freeze boundary: computed once for each photo and view, then read from disk.

Augmentation changes pixels, so the frozen blocks give another activation for each variant. A fixed
number of variants, the *views*, is drawn for each photo and cached in half precision in a
memory-mapped file. Each of the first epochs fills one view of all photos. Later epochs mix the
views at random, row by row. Views that are not cached are computed in every epoch.

N rows, B batch, V views; `_...` stands for the axes of one activation.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.system.files import allocate, write_whole
from training.blocks.augment import Augmentation
from training.blocks.device import Compute, embedding_batch
from training.blocks.tail import Tail

_MB = 2**20
# The share of the free disk that a cache may take.
_MAX_SHARE_OF_DISK = 0.8


class Activations:
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
        self._file = file
        self.notes: list[str] = []
        first = self._pixels(0, np.zeros(1, np.intp))
        memory_mb = compute.memory_mb(memory_mb)
        self.batch_size = embedding_batch(tail.backbone, tail.frozen, first, memory_mb)
        self.example = self._compute_activation(0, np.zeros(1, np.intp))
        wanted = min(num_views, 1) if augmentation.strength == "none" else num_views
        self.num_views = self._affordable(wanted, limit_mb)
        self._filled: set[int] = set()
        self._stored_VN: NDArray[np.float16] | None = self._open()

    def __len__(self) -> int:
        return len(self._rows_N)

    @property
    def num_unfilled(self) -> int:
        return self.num_views - len(self._filled)

    @property
    def megabytes(self) -> float:
        return self.num_views * len(self) * self._row_bytes / _MB

    def views(self, epoch: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return the view of each row for an epoch. Without a cache, each epoch has a new view."""
        if self.num_views == 0 or epoch < self.num_views:
            return np.full(len(self), epoch, np.intp)
        return rng.integers(self.num_views, size=len(self))

    def fill(self, view: int, check: Callable[[], None]) -> None:
        """Compute a view of all rows if it is cached and not filled yet.

        `check` is called between batches, and may raise.
        """
        if self._stored_VN is None or view in self._filled or view >= self.num_views:
            return
        # In the order of the rows and not of training. Convolutions round differently in other
        # batches, and a resumed run must get the same bits.
        for start in range(0, len(self), self.batch_size):
            check()
            at_B = np.arange(start, min(start + self.batch_size, len(self)))
            activation = _channels_last(self._compute_activation(view, at_B)).cpu().numpy()
            with np.errstate(over="ignore"):
                half = activation.astype(np.float16)
            if not np.isfinite(half).all():
                self._give_up("activations at this block are too large for half precision")
                return
            self._stored_VN[view, at_B] = half
        self._filled.add(view)
        self._stored_VN.flush()  # type: ignore[attr-defined]  # a memmap
        write_whole(self._views_file, json.dumps(sorted(self._filled)).encode())

    def batch(self, view_B: NDArray[np.intp], at_B: NDArray[np.intp]) -> Tensor:
        """Return the activations [B, ...], float32, of the views `view_B` of the rows `at_B`.

        A cached view must be filled. Without a cache, all rows of a batch have one view.
        """
        if self._stored_VN is None:
            return self._compute_activation(int(view_B[0]), at_B)
        half = torch.from_numpy(self._stored_VN[view_B, at_B])
        return _channels_first(half.to(self._compute.device).float())

    def delete(self) -> None:
        self._stored_VN = None
        for path in (self._file, self._views_file):
            path.unlink(missing_ok=True)

    def _pixels(self, view: int, at_B: NDArray[np.intp]) -> Tensor:
        rows_B = self._rows_N[at_B]
        varied = self._augmentation(self._pixels_NHWC[rows_B], view, rows_B.tolist())
        return varied.to(self._compute.device)

    def _compute_activation(self, view: int, at_B: NDArray[np.intp]) -> Tensor:
        with self._compute.autocast():
            return self._tail.frozen(self._pixels(view, at_B)).float()

    @property
    def _row_bytes(self) -> int:
        return self.example.numel() * 2

    @property
    def _views_file(self) -> Path:
        return self._file.with_suffix(".views.json")

    def _affordable(self, wanted: int, limit_mb: float) -> int:
        free_mb = _MAX_SHARE_OF_DISK * shutil.disk_usage(self._file.parent).free / _MB
        if self._file.exists():
            free_mb += self._file.stat().st_size / _MB
        each_mb = len(self) * self._row_bytes / _MB
        affordable = min(wanted, int(min(limit_mb, free_mb) / each_mb))
        if affordable < wanted:
            why = f"cache_mb leaves {limit_mb:,.0f}" if limit_mb <= free_mb else "the disk is full"
            self.notes.append(
                f"the activation cache holds {affordable} of {wanted} views of {len(self):,} "
                f"photos ({each_mb:,.0f} MB each, {why})"
                + ("; every epoch computes the frozen blocks again" if affordable == 0 else "")
            )
        return affordable

    def _open(self) -> NDArray[np.float16] | None:
        if self.num_views == 0:
            return None
        shape = (self.num_views, len(self), *_channels_last(self.example).shape[1:])
        size = 2 * int(np.prod(shape))
        if self._file.exists() and self._file.stat().st_size == size and self._views_file.exists():
            self._filled = set(json.loads(self._views_file.read_text()))
        else:
            self.delete()
            try:
                allocate(self._file, size)
            except OSError as error:
                self._give_up(f"no room for it: {error.strerror}")
                return None
        return np.memmap(self._file, np.float16, "r+", shape=shape)

    def _give_up(self, why: str) -> None:
        self.notes.append(
            f"activations are not cached ({why}); every epoch computes the frozen blocks again"
        )
        self.num_views = 0
        self.delete()


def _channels_last(activation: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H, W, C], the order in which convolutions on a CPU are fastest."""
    return activation.permute(0, 2, 3, 1) if activation.ndim == 4 else activation


def _channels_first(activation: Tensor) -> Tensor:
    return activation.permute(0, 3, 1, 2) if activation.ndim == 4 else activation
