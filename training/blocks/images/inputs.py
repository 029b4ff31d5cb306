"""Pixels that blocks are tuned on: decoded once and not once an epoch.

N rows; H/W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.store.blobs import Blobs
from core.system.files import allocate
from training.backbones.backbone_ref import BackboneRef
from training.backbones.quantise import as_int8, evenly
from training.blocks.device import Compute
from training.blocks.images.activations import PixelActivations
from training.blocks.images.augment import Augmentation
from training.blocks.inputs import Room
from training.blocks.tail import Tail
from training.recipe import BlocksRecipe, TuningRecipe

_HASHED_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class PixelInputs:
    # They have the backbone's pixel spec, and may be a memmap.
    pixels_NHWC: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels_NHWC)

    def contents(self) -> Iterator[Any]:
        for start in range(0, len(self), _HASHED_ROWS):
            yield np.ascontiguousarray(self.pixels_NHWC[start : start + _HASHED_ROWS]).data

    def activations(
        self,
        tail: Tail,
        compute: Compute,
        rows_N: NDArray[np.intp],
        recipe: TuningRecipe,
        file: Path,
        seed: int,
        *,
        is_varied: bool,
        limit_mb: float,
    ) -> PixelActivations:
        assert isinstance(recipe, BlocksRecipe)
        augmentation = Augmentation(
            recipe.augment if is_varied else "none",
            flip=recipe.flip,
            size_px=self.pixels_NHWC.shape[1],
            seed=seed,
        )
        return PixelActivations(
            tail,
            compute,
            self.pixels_NHWC,
            rows_N,
            augmentation,
            file,
            num_views=recipe.views if is_varied else 1,
            limit_mb=limit_mb,
            memory_mb=recipe.memory_mb,
        )

    def as_int8(
        self, backbone: BackboneRef, blobs: Blobs, on_inputs: Callable[[int], None]
    ) -> BackboneRef:
        quantised, _ = as_int8(backbone, self.pixels_NHWC[evenly(len(self))], blobs, on_inputs)
        return quantised


class PixelWriter:
    """Writes the pixels to one file, whose room on the disk is taken beforehand."""

    def __init__(self, folder: Path, num_rows: int) -> None:
        self._file = folder / "pixels.npy"
        self._num_rows, self._num_added = num_rows, 0
        self._pixels_NHWC: NDArray[np.uint8] | None = None

    def add(self, array: NDArray[np.uint8]) -> None:
        if self._pixels_NHWC is None:
            shape = (self._num_rows, *array.shape)
            self._pixels_NHWC = np.lib.format.open_memmap(
                self._file, mode="w+", dtype=np.uint8, shape=shape
            )
            allocate(self._file, self._file.stat().st_size)
        self._pixels_NHWC[self._num_added] = array
        self._num_added += 1

    def finish(self) -> PixelInputs:
        if self._pixels_NHWC is None:
            return PixelInputs(np.empty((0, 1, 1, 3), np.uint8))
        return PixelInputs(self._pixels_NHWC[: self._num_added])


ROOM = Room(recipe=lambda recipe: recipe.blocks, writer=PixelWriter)
