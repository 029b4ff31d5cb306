"""The inputs of a run: training rows, held-out rows, their activations, and the run's digest.

N rows, V held-out rows, T training rows, K classes with training rows; H/W pixels, C channels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import NotEnoughLabels
from training.blocks.activation_cache import Activations
from training.blocks.augment import Augmentation
from training.blocks.device import Compute
from training.blocks.tail import Tail
from training.head.head import Head
from training.recipe import BlocksRecipe

_HASHED_ROWS = 256


@dataclass(frozen=True, slots=True)
class Rows:
    """Row numbers, and their classes as positions in `classes_K`."""

    classes_K: NDArray[np.intp]
    training_T: NDArray[np.intp]
    y_T: NDArray[np.intp]
    held_out_V: NDArray[np.intp]
    y_V: NDArray[np.intp]


def split(y_N: NDArray[np.intp], is_held_out_N: NDArray[np.bool_]) -> Rows:
    """Raises NotEnoughLabels if no row is held out or fewer than two classes can be trained."""
    training_T = np.flatnonzero(~is_held_out_N)
    classes_K, y_T = np.unique(y_N[training_T], return_inverse=True)
    # A class that is only held out cannot be learnt, and every model fails on it.
    held_out_V = np.flatnonzero(is_held_out_N & np.isin(y_N, classes_K))
    if len(classes_K) < 2 or len(held_out_V) == 0:
        raise NotEnoughLabels(
            f"tuning blocks found {len(classes_K)} classes in {len(training_T)} training rows and "
            f"{len(held_out_V)} held-out rows of them; it takes 2 classes and 1 row: label more"
        )
    return Rows(classes_K, training_T, y_T, held_out_V, np.searchsorted(classes_K, y_N[held_out_V]))


def activations(
    tail: Tail,
    compute: Compute,
    pixels_NHWC: NDArray[np.uint8],
    rows: Rows,
    recipe: BlocksRecipe,
    stem: Path,
    seed: int,
) -> tuple[Activations, Activations]:
    """Return those of the held-out rows, without augmentation, and those of the training rows."""

    def make(rows_N: NDArray[np.intp], augmented: bool, views: int, limit_mb: float) -> Activations:
        return Activations(
            tail,
            compute,
            pixels_NHWC,
            rows_N,
            Augmentation(
                recipe.augment if augmented else "none",
                flip=recipe.flip,
                size_px=pixels_NHWC.shape[1],
                seed=seed,
            ),
            stem.with_name(f"{stem.name}.{'training' if augmented else 'held-out'}.f16"),
            num_views=views,
            limit_mb=limit_mb,
            memory_mb=recipe.memory_mb,
        )

    held_out = make(rows.held_out_V, False, 1, recipe.cache_mb)
    left_mb = recipe.cache_mb - held_out.megabytes
    return held_out, make(rows.training_T, True, recipe.views, left_mb)


def digest(
    backbone: Any,
    head: Head,
    pixels_NHWC: NDArray[np.uint8],
    y_N: NDArray[np.intp],
    is_held_out_N: NDArray[np.bool_],
    recipe: BlocksRecipe,
    seed: int,
) -> str:
    """Return the digest of everything that the result of the run depends on."""
    lasting = dataclasses.replace(recipe, minutes=0.0)
    hashed = hashlib.sha256(json.dumps([backbone.name, lasting.to_json(), seed]).encode())
    for name, tensor in backbone.state_dict().items():
        hashed.update(name.encode())
        hashed.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    for array in (head.weights_DK, head.bias_K, y_N, is_held_out_N):
        hashed.update(np.ascontiguousarray(array).data)
    for start in range(0, len(pixels_NHWC), _HASHED_ROWS):
        hashed.update(np.ascontiguousarray(pixels_NHWC[start : start + _HASHED_ROWS]).data)
    return hashed.hexdigest()[:24]
