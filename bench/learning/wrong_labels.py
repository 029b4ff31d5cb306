"""Loss of accuracy by a tenth of wrong labels, over random re-splits of train and val.

A single split is too noisy: with 153 validation photos, two of them are more than a point.

N rows, D embedding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bench.learning.heads import flipped
from bench.learning.photos import Photos
from bench.learning.tables import Follow, cells, news, size
from bench.learning.tasks import Task, judge_head

TITLE = "Tier head, a tenth of wrong labels over re-splits: mean ± spread"
COLUMNS = (
    "data",
    "backbone",
    "labels a class",
    "right labels",
    "flipped",
    "cost, points",
    "± s.e.",
)


def rows_of(
    task: Task, sizes: Sequence[int | None], num_resplits: int, follow: Follow
) -> list[list[str]]:
    rows = []
    text = f"{task.name}, {task.network.name}: re-splits"
    with follow(text, len(sizes) * num_resplits) as report:
        for at, per_class in enumerate(sizes):
            measured: list[tuple[float, ...]] = []
            for seed in range(num_resplits):
                other = resplit(task, seed)
                rows_N = other.sample(per_class, seed)
                y_N = other.train.y_N[rows_N]
                accuracy, *_ = judge_head(other, rows_N, y_N)
                noisy, *_ = judge_head(other, rows_N, flipped(y_N, seed))
                measured.append((accuracy, noisy, 100 * (accuracy - noisy)))
                report(at * num_resplits + seed + 1)
            error = float(np.std([cost for *_, cost in measured])) / max(1, num_resplits - 1) ** 0.5
            figures = [*cells(measured, (".3f", ".3f", ".1f")), f"{error:.1f}"]
            rows.append([task.name, task.network.name, size(per_class), *figures])
            news.print(*rows[-1], sep="  ", highlight=False)
    return rows


def resplit(task: Task, seed: int) -> Task:
    """Split the photos of train and val again, with the same number of each class in train.

    All copies of a training photo are training photos.
    """
    rng = np.random.default_rng((seed, 2))
    x_ND = np.concatenate([task.x_ND, task.val_x_ND])
    y_N = np.concatenate([task.train.y_N, task.val.y_N])
    digest_N = np.concatenate([task.train.digest_N, task.val.digest_N])
    files = (*task.train.files, *task.val.files)
    order_N = rng.permutation(len(y_N))
    trains_N = np.zeros(len(y_N), np.bool_)
    for k, num in enumerate(np.bincount(task.train.y_N)):
        trains_N[order_N[y_N[order_N] == k][:num]] = True
    trains_N |= np.isin(digest_N, digest_N[trains_N])
    train, val = (
        Photos(task.train.classes, tuple(files[i] for i in rows_N), y_N[rows_N], digest_N[rows_N])
        for rows_N in (np.flatnonzero(trains_N), np.flatnonzero(~trains_N))
    )
    return dataclasses.replace(
        task, train=train, val=val, x_ND=x_ND[trains_N], val_x_ND=x_ND[~trains_N]
    )
