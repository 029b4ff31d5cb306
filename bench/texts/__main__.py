"""Accuracy by number of labels, on texts: python -m bench.texts [--draws 10] [--blocks 3]

Two sets need no download: descriptions of Debian packages in twelve sections, and support tickets
made by templates. The head of Evergreen, on the backbone of a new home of texts, is compared with
TF-IDF and logistic regression of scikit-learn. Each draw labels so many texts of each class, and
all other texts judge both. The gain has its 95 % interval over draws. Seconds are CPU seconds.

N rows, D embedding, K classes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from threadpoolctl import threadpool_limits

from bench.learning.tables import cells
from bench.tables import bar, show
from bench.texts import blocks, debian, tf_idf
from bench.texts.tasks import DEBIAN, TICKETS, Task, accuracy_of, interval, load
from training.head.calibration import expected_calibration_error
from training.head.fit import fit_head
from training.recipe import HeadRecipe

COLUMNS = (
    "data", "labels a class", "head", "TF-IDF", "gain, points", "calibration error",
    "head, s", "TF-IDF, s",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=0, metavar="DRAWS", help="also tune blocks")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 20, 50])
    parser.add_argument("--sets", nargs="+", choices=[DEBIAN, TICKETS], default=[DEBIAN, TICKETS])
    parser.add_argument("--sections", nargs="+", default=debian.SECTIONS, help="of Debian")
    default = Path(tempfile.gettempdir()) / "evergreen-bench"
    parser.add_argument("--cache", type=Path, default=default, help="keeps embeddings")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    rows, blocks_rows = [], []
    with threadpool_limits(1), bar() as progress:
        for name in options.sets:
            task = load(name, options.sections, options.cache, progress)
            for per_class in options.sizes:
                rows.append(row_of(task, per_class, options.draws, progress))
            for per_class in options.sizes if options.blocks else ():
                blocks_rows.append(blocks.row_of(task, per_class, options.blocks, progress))
    show("Accuracy on texts: mean ± spread over draws", COLUMNS, rows, markdown=options.markdown)
    if blocks_rows:
        show(blocks.TITLE, blocks.COLUMNS, blocks_rows, markdown=options.markdown)


def row_of(task: Task, per_class: int, num_draws: int, progress: Progress) -> list[str]:
    measured = []
    bar_of_draws = progress.add_task(f"{task.name}: {per_class} labels a class", total=num_draws)
    for seed in range(num_draws):
        labelled_N, judging_N = task.draw(per_class, seed)
        accuracy, calibration, head_s = judge_head(task, labelled_N, judging_N)
        began = time.process_time()
        predicted_N = tf_idf.predict(
            task.select(labelled_N), task.y_N[labelled_N], task.select(judging_N)
        )
        other_s = time.process_time() - began
        other = float((predicted_N == task.y_N[judging_N]).mean())
        measured.append((accuracy, other, calibration, head_s, other_s))
        progress.advance(bar_of_draws)
    head, words, *rest = cells(measured, (".3f", ".3f", ".3f", ".2f", ".2f"))
    gain = interval([100 * (ours - theirs) for ours, theirs, *_ in measured])
    return [task.name, str(per_class), head, words, gain, *rest]


def judge_head(
    task: Task, labelled_N: NDArray[np.intp], judging_N: NDArray[np.intp]
) -> tuple[float, float, float]:
    """Fit a head. Returns its accuracy, its calibration error, and CPU seconds of the fit."""
    dataset = task.dataset(labelled_N, task.x_ND)
    began = time.process_time()
    head = fit_head(dataset, HeadRecipe(), score_all=False).head
    seconds = time.process_time() - began
    x_ND, y_N = task.x_ND[judging_N], task.y_N[judging_N]
    calibration = expected_calibration_error(head.probabilities(x_ND), y_N)
    return accuracy_of(head, x_ND, y_N), calibration, seconds


if __name__ == "__main__":
    main()
