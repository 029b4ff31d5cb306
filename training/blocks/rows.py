"""The rows of a run: training rows, held-out rows, their activations, and the run's digest.

N rows, V held-out rows, T training rows, M rows of either, K classes with training rows.
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
from training.blocks.device import Compute
from training.blocks.inputs import Activations, TuningInputs
from training.blocks.tail import Tail
from training.head.head import Head
from training.recipe import TuningRecipe


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
    inputs: TuningInputs,
    rows: Rows,
    recipe: TuningRecipe,
    stem: Path,
    seed: int,
) -> tuple[Activations, Activations]:
    """Return those of the held-out rows, which never vary, and those of the training rows."""

    def make(name: str, rows_M: NDArray[np.intp], is_varied: bool, limit_mb: float) -> Activations:
        file = stem.with_name(f"{stem.name}.{name}.f16")
        return inputs.activations(
            tail, compute, rows_M, recipe, file, seed, is_varied=is_varied, limit_mb=limit_mb
        )

    held_out = make("held-out", rows.held_out_V, False, recipe.cache_mb)
    left_mb = recipe.cache_mb - held_out.megabytes
    return held_out, make("training", rows.training_T, True, left_mb)


def digest(
    backbone: Any,
    head: Head,
    inputs: TuningInputs,
    y_N: NDArray[np.intp],
    is_held_out_N: NDArray[np.bool_],
    recipe: TuningRecipe,
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
    for buffer in inputs.contents():
        hashed.update(buffer)
    return hashed.hexdigest()[:24]
