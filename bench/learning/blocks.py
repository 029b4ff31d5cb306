"""Accuracy of tier `blocks`, compared with a full fine-tune as in tutorials.

N rows, H/W pixels, C channels, D embedding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.learning import baselines
from bench.learning.block_tuning import tuned
from bench.learning.photos import pixels
from bench.learning.tables import Follow, cells, news, size
from bench.learning.tasks import Task, judge_head
from training.recipe import BlocksRecipe

TITLE = "Tier blocks: accuracy on val, mean ± spread over seeds"
COLUMNS = (
    "data", "backbone", "labels a class", "head", "blocks", "gain, points", "calibration error",
    "seconds", "full fine-tune", "seconds",
)  # fmt: skip


def rows_of(
    task: Task,
    sizes: Sequence[int | None],
    num_seeds: int,
    recipe: BlocksRecipe,
    cache: Path,
    threads: int,
    follow: Follow,
) -> list[list[str]]:
    import torch

    torch.set_num_threads(threads)
    spec = task.network.pixels
    train_NHWC, val_NHWC = (pixels(photos, spec, cache) for photos in (task.train, task.val))
    rows = []
    text = f"{task.name}, {task.network.name}: blocks"
    with follow(text, len(sizes) * num_seeds) as report:
        for at, per_class in enumerate(sizes):
            measured = []
            for seed in range(num_seeds):
                rows_N = task.sample(per_class, seed)
                mine_NHWC = np.ascontiguousarray(train_NHWC[rows_N])
                head_accuracy, *_ = judge_head(task, rows_N, task.train.y_N[rows_N])
                outcome = tuned(task, rows_N, mine_NHWC, recipe, seed)
                accuracy, error = outcome.judge(val_NHWC, task.val.y_N)
                seconds = outcome.seconds
                began = time.process_time()
                logits_NK = baselines.full_fine_tune(
                    task.module,
                    mine_NHWC,
                    task.train.y_N[rows_N],
                    len(task.train.classes),
                    val_NHWC,
                    max_epochs=recipe.epochs,
                    max_seconds=seconds,
                    seed=seed,
                )
                baseline_s = time.process_time() - began
                baseline_accuracy = float((logits_NK.argmax(axis=1) == task.val.y_N).mean())
                gain = 100 * (accuracy - head_accuracy)
                measured.append(
                    (head_accuracy, accuracy, gain, error, seconds, baseline_accuracy, baseline_s)
                )
                report(at * num_seeds + seed + 1)
            figures = cells(measured, (".3f", ".3f", ".1f", ".3f", ".0f", ".3f", ".0f"))
            rows.append([task.name, task.network.name, size(per_class), *figures])
            news.print(*rows[-1], sep="  ", highlight=False)
    return rows
