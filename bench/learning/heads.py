"""Accuracy of tier `head`, compared with logistic regression, with correct and wrong labels.

N rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.learning import baselines
from bench.learning.tables import Follow, cells, news, size
from bench.learning.tasks import Task, judge_head

FLIPPED = 0.1

TITLE = "Tier head: accuracy on val, mean ± spread over seeds"
COLUMNS = (
    "data", "backbone", "labels a class", "head", "10 % flipped", "cost, points",
    "calibration error", "seconds", "regression, tuned", "best on val", "seconds",
)  # fmt: skip


def rows_of(
    task: Task, sizes: Sequence[int | None], num_seeds: int, follow: Follow
) -> list[list[str]]:
    rows = []
    text = f"{task.name}, {task.network.name}: heads"
    with follow(text, len(sizes) * num_seeds) as report:
        for at, per_class in enumerate(sizes):
            measured: list[tuple[float, ...]] = []
            whole: tuple[tuple[float, ...], baselines.Regression] | None = None
            for seed in range(num_seeds):
                rows_N = task.sample(per_class, seed)
                y_N = task.train.y_N[rows_N]
                # With all labels, seeds differ only in which labels are flipped.
                if whole is None or per_class is not None:
                    baseline = baselines.logistic_regression(
                        task.x_ND[rows_N], y_N, task.val_x_ND, task.val.y_N
                    )
                    whole = judge_head(task, rows_N, y_N), baseline
                (accuracy, error, seconds), baseline = whole
                noisy, *_ = judge_head(task, rows_N, flipped(y_N, seed))
                measured.append((accuracy, noisy, 100 * (accuracy - noisy), error, seconds))
                measured[-1] += (baseline.tuned, baseline.oracle, baseline.seconds)
                report(at * num_seeds + seed + 1)
            figures = cells(measured, (".3f", ".3f", ".1f", ".3f", ".2f", ".3f", ".3f", ".1f"))
            rows.append([task.name, task.network.name, size(per_class), *figures])
            news.print(*rows[-1], sep="  ", highlight=False)
    return rows


def flipped(y_N: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Change a tenth of the labels to another class, drawn uniformly."""
    rng = np.random.default_rng((seed, 1))
    at = rng.permutation(len(y_N))[: round(FLIPPED * len(y_N))]
    num_classes = int(y_N.max()) + 1
    y_N = y_N.copy()
    y_N[at] = (y_N[at] + rng.integers(1, num_classes, len(at))) % num_classes
    return y_N
