"""No forgetting: classes that arrive two at a time, against all of them at once.

After each arrival everything labelled so far is learnt, by the head alone and by tier `blocks`,
which begins at the pretrained backbone each time.

N rows, H/W pixels, C channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.learning.photos import pixels
from bench.learning.tables import Follow, cells, news
from bench.learning.tasks import Task, judge_head
from bench.learning.tuning import tuned
from training.recipe import BlocksRecipe

TITLE = "Classes two at a time, or all at once: accuracy on val, mean ± spread over seeds"
COLUMNS = (
    "data", "backbone", "head, stream", "head, at once", "lost, points",
    "blocks, stream", "blocks, at once", "lost, points",
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
    with follow(f"{task.name}, {task.network.name}: stream", num_seeds * (arrivals + 1)) as tell:
        for seed in range(num_seeds):
            order_K = np.random.default_rng(seed).permutation(len(task.train.classes))
            done = seed * (arrivals + 1)
            for arrival in range(1, arrivals + 1):
                known_K = order_K[: arrival * _AT_A_TIME]
                rows_N = np.flatnonzero(np.isin(task.train.y_N, known_K))
                found = tuned(task, rows_N, _of(train_NHWC, rows_N), recipe, seed)
                tell(done + arrival)
            streamed, _ = found.judge(val_NHWC, task.val.y_N)
            every_N = np.arange(len(task.train))
            whole = tuned(task, every_N, _of(train_NHWC, every_N), recipe, seed)
            at_once, _ = whole.judge(val_NHWC, task.val.y_N)
            # The head is fitted from nothing each time: its last fit of the stream is that of all.
            head_stream, *_ = judge_head(task, rows_N, task.train.y_N[rows_N])
            head_at_once, *_ = judge_head(task, every_N, task.train.y_N)
            lost = (100 * (head_at_once - head_stream), 100 * (at_once - streamed))
            measured.append((head_stream, head_at_once, lost[0], streamed, at_once, lost[1]))
            tell(done + arrivals + 1)
    found_cells = cells(measured, (".3f", ".3f", ".1f", ".3f", ".3f", ".1f"))
    row = [task.name, task.network.name, *found_cells]
    news.print(*row, sep="  ", highlight=False)
    return [row]


def _of(pixels_NHWC: NDArray[np.uint8], rows_N: NDArray[np.intp]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels_NHWC[rows_N])
