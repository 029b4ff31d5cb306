"""Forgetting: accuracy if classes arrive two at a time, compared with all classes from the start.

After each arrival, tier `head` and tier `blocks` train on all labels so far. The latter starts from
the pretrained backbone each time.

N rows, H/W pixels, C channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.learning.block_tuning import tuned
from bench.learning.photos import pixels
from bench.learning.tables import Follow, cells, news
from bench.learning.tasks import Task, judge_head
from training.recipe import BlocksRecipe

TITLE = "Classes two at a time, or all together: accuracy on val, mean ± spread over seeds"
COLUMNS = (
    "data", "backbone", "head, stream", "head, together", "lost, points",
    "blocks, stream", "blocks, together", "lost, points",
)  # fmt: skip
_AT_A_TIME = 2


def rows_of(
    task: Task, num_seeds: int, recipe: BlocksRecipe, cache: Path, threads: int, follow: Follow
) -> list[list[str]]:
    import torch

    torch.set_num_threads(threads)
    train_NHWC, val_NHWC = (
        pixels(photos, task.network.pixels, cache) for photos in (task.train, task.val)
    )
    arrivals = -(-len(task.train.classes) // _AT_A_TIME)
    measured = []
    with follow(f"{task.name}, {task.network.name}: stream", num_seeds * (arrivals + 1)) as report:
        for seed in range(num_seeds):
            order_K = np.random.default_rng(seed).permutation(len(task.train.classes))
            done = seed * (arrivals + 1)
            for arrival in range(1, arrivals + 1):
                known_K = order_K[: arrival * _AT_A_TIME]
                rows_N = np.flatnonzero(np.isin(task.train.y_N, known_K))
                tuning = tuned(task, rows_N, _of(train_NHWC, rows_N), recipe, seed)
                report(done + arrival)
            streamed, _ = tuning.judge(val_NHWC, task.val.y_N)
            every_N = np.arange(len(task.train))
            whole = tuned(task, every_N, _of(train_NHWC, every_N), recipe, seed)
            together, _ = whole.judge(val_NHWC, task.val.y_N)
            # The head is fitted from scratch each time, so only its last fit matters.
            head_stream, *_ = judge_head(task, rows_N, task.train.y_N[rows_N])
            head_together, *_ = judge_head(task, every_N, task.train.y_N)
            lost = (100 * (head_together - head_stream), 100 * (together - streamed))
            measured.append((head_stream, head_together, lost[0], streamed, together, lost[1]))
            report(done + arrivals + 1)
    figures = cells(measured, (".3f", ".3f", ".1f", ".3f", ".3f", ".1f"))
    row = [task.name, task.network.name, *figures]
    news.print(*row, sep="  ", highlight=False)
    return [row]


def _of(pixels_NHWC: NDArray[np.uint8], rows_N: NDArray[np.intp]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels_NHWC[rows_N])
