"""A run of tier `blocks` on a task, with the steps of the service.

N rows, H/W pixels, C channels, D embedding.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.learning.tasks import Task, judge
from training.head.crossval import assign_folds
from training.head.fit import fit_head
from training.head.head import Head
from training.recipe import BlocksRecipe, HeadRecipe


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    # A torch module.
    backbone: Any
    head: Head
    # CPU time.
    seconds: float

    def judge(self, pixels_NHWC: NDArray[np.uint8], y_N: NDArray[np.intp]) -> tuple[float, float]:
        """Return accuracy and calibration error."""
        return judge(self.head, embed(self.backbone, pixels_NHWC), y_N)


def tuned(
    task: Task,
    rows_N: NDArray[np.intp],
    pixels_NHWC: NDArray[np.uint8],
    recipe: BlocksRecipe,
    seed: int,
) -> Tuning:
    """Tune the blocks while one fold chooses the epoch, then fit a head on the tuned backbone."""
    from training.blocks.finetune import tune
    from training.blocks.images.inputs import PixelInputs

    dataset = task.dataset(rows_N, task.train.y_N[rows_N], task.x_ND[rows_N])
    is_held_out_N = assign_folds(dataset.group_N, dataset.y_N, 5, seed) == 0
    began = time.process_time()
    start = fit_head(dataset.part(~is_held_out_N), HeadRecipe(), score_all=False).head
    depth = min(recipe.depth, len(task.module.blocks))
    with tempfile.TemporaryDirectory() as folder:
        result = tune(
            task.module,
            start,
            PixelInputs(pixels_NHWC),
            dataset.y_N,
            is_held_out_N,
            dataclasses.replace(recipe, depth=depth),
            Path(folder),
            seed=seed,
            device="cpu",
            clock=time.process_time,
        )
    x_ND = embed(result.backbone, pixels_NHWC)
    again = task.dataset(rows_N, dataset.y_N, x_ND)
    fitted = fit_head(again, HeadRecipe(), score_all=False, calibrate_on=again.part(is_held_out_N))
    return Tuning(result.backbone, fitted.head, time.process_time() - began)


def embed(backbone: Any, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        batches = [
            backbone(torch.from_numpy(np.array(pixels_NHWC[i : i + 64]))).numpy()
            for i in range(0, len(pixels_NHWC), 64)
        ]
    return np.concatenate(batches)
