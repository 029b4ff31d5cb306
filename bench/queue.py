"""What the queue saves: python -m bench.queue FOLDER [--draws 6]

FOLDER is a data set: train/<class>/* and val/<class>/*. The backbone is that of a new home, and the
queue is chosen by the functions that the service uses.

The first table has the labels that each way of choosing needs for the accuracy that random photos
reach with 100, 200 and 400 labels. In each draw 20 photos at a time are labelled, of a pool of
2,000, and a head is fitted on all labels so far. The other photos measure its accuracy.

The second table has the share of truly wrong labels among the first suspects, if a tenth of 1,000
labels is wrong.

N rows, D embedding, K classes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.learning.heads import flipped
from bench.learning.photos import PARTS, Network, embeddings, read
from bench.tables import bar, show
from core.models.pretrained import choice as pretrained
from core.review.analysis import Analysis
from core.review.directions import from_int8, to_int8
from core.review.queue.doubt import doubtful_first, is_few
from core.review.queue.near_duplicates import Spread
from core.review.queue.pool import MAX_POOL
from core.review.queue.suspects import least_probable_first
from training.analysis.out_of_fold import score_out_of_fold
from training.dataset import Dataset
from training.head.fit import fit_head
from training.head.head import Head
from training.recipe import HeadRecipe

_BATCH = 20
_RANDOM_LABELS = (100, 200, 400)
_SHOWN = (20, 50, 100)
_NUM_FLIPPED_AMONG = 1_000

Rows = NDArray[np.intp]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    x_ND: Floats
    # As kept predictions have it.
    direction_ND: Floats
    y_N: Rows
    names: tuple[str, ...]

    def dataset(self, rows: Rows, y_N: Rows) -> Dataset:
        numbers = np.arange(len(rows))
        return Dataset(self.names, self.x_ND[rows], y_N, rows.astype(str), numbers, len(rows))


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """What is known when the next photos are chosen."""

    direction_ND: Floats
    margin_N: Floats
    num_labels: int
    num_classes: int
    rng: np.random.Generator


Choose = Callable[[Turn], Rows]


def by_chance(turn: Turn) -> Rows:
    return turn.rng.permutation(len(turn.margin_N))[:_BATCH]


def by_margin(turn: Turn) -> Rows:
    if not turn.num_labels:
        return by_chance(turn)
    return np.argsort(turn.margin_N, kind="stable")[:_BATCH]


def by_queue(turn: Turn) -> Rows:
    few = not turn.num_labels or is_few(turn.num_labels, turn.num_classes)
    order = doubtful_first(turn.direction_ND, turn.margin_N, _BATCH, has_few_labels=few)
    spread, chosen = Spread(turn.direction_ND), []
    for row, _ in order:
        x_D = turn.direction_ND[row]
        if len(chosen) < _BATCH and not spread.has_near_duplicate(x_D):
            spread.add(x_D)
            chosen.append(row)
    return np.array(chosen)


WAYS: dict[str, Choose] = {"random": by_chance, "margin": by_margin, "queue": by_queue}


def load(folder: Path, cache: Path) -> Photos:
    model = pretrained.load(pretrained.NAMES[0])
    network = Network(pretrained.NAMES[0], model.backbone, model.input_spec)
    parts = [read(folder / part) for part in PARTS]
    x_ND = np.concatenate([embeddings(part, network, cache) for part in parts])
    stored = [to_int8(x_D) or b"" for x_D in x_ND]
    y_N = np.concatenate([part.y_N for part in parts])
    return Photos(x_ND, from_int8(stored), y_N, parts[0].classes)


def learn(photos: Photos, choose: Choose, seed: int) -> Iterator[float]:
    """Label batches of the pool. Yields the accuracy after each."""
    order = np.random.default_rng((seed, 0)).permutation(len(photos.y_N))
    pool, judges = order[:MAX_POOL], order[MAX_POOL:]
    labelled = np.array([], np.intp)
    head: Head | None = None
    rng = np.random.default_rng((seed, 1))
    while len(labelled) < _RANDOM_LABELS[-1]:
        left = np.setdiff1d(pool, labelled)
        margin_N = np.ones(len(left), np.float32)
        if head is not None:
            best_N2 = np.partition(head.probabilities(photos.x_ND[left]), -2, axis=1)[:, -2:]
            margin_N = best_N2[:, 1] - best_N2[:, 0]
        num_classes = len(np.unique(photos.y_N[labelled]))
        turn = Turn(photos.direction_ND[left], margin_N, len(labelled), num_classes, rng)
        labelled = np.concatenate([labelled, left[choose(turn)]])
        head = fit(photos, labelled)
        predicted = head.probabilities(photos.x_ND[judges]).argmax(axis=1)
        yield float((predicted == photos.y_N[judges]).mean())


def fit(photos: Photos, rows: Rows) -> Head:
    return fit_head(photos.dataset(rows, photos.y_N[rows]), HeadRecipe(), score_all=False).head


def labels_for(accuracy: float, curve: Floats) -> float:
    """The labels at which a curve first reaches an accuracy; NaN: it does not."""
    reached = np.flatnonzero(curve >= accuracy)
    if not len(reached):
        return float("nan")
    at = int(reached[0])
    if at == 0:
        return float(_BATCH)
    part = (accuracy - curve[at - 1]) / (curve[at] - curve[at - 1])
    return float(_BATCH * (at + part))


def suspects(photos: Photos, seed: int) -> list[float]:
    """The share of wrong labels among the first suspects."""
    rows = np.random.default_rng(seed).permutation(len(photos.y_N))[:_NUM_FLIPPED_AMONG]
    given_N = flipped(photos.y_N[rows], seed)
    dataset = photos.dataset(rows, given_N)
    probs_NK = score_out_of_fold(dataset, HeadRecipe()).probs_NK
    every_N = np.arange(len(rows))
    analysis = Analysis(
        photos.names,
        every_N,
        given_N.astype(np.int32),
        probs_NK.argmax(axis=1).astype(np.int32),
        probs_NK[every_N, given_N].astype(np.float16),
        np.full(len(rows), np.nan, np.float16),
        np.zeros(len(rows), np.bool_),
        np.empty(0, np.int32),
        np.empty((0, 2), np.float16),
    )
    is_wrong = (given_N != photos.y_N[rows])[least_probable_first(analysis)]
    return [float(is_wrong[:count].mean()) for count in _SHOWN]


def main() -> None:
    parser = argparse.ArgumentParser(description="What the queue saves.")
    parser.add_argument("folder", type=Path, help="a folder with train/<class>/* and val/<class>/*")
    parser.add_argument("--draws", type=int, default=6)
    cache = Path(tempfile.gettempdir()) / "evergreen-bench"
    parser.add_argument("--cache", type=Path, default=cache, help="folder of embeddings")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    with threadpool_limits(1), bar() as progress:
        task = progress.add_task("embedding", total=(len(WAYS) + 1) * args.draws)
        photos = load(args.folder, args.cache)
        curves: dict[str, list[list[float]]] = {name: [] for name in WAYS}
        for seed in range(args.draws):
            for name, choose in WAYS.items():
                progress.update(task, description=name, advance=1)
                curves[name].append(list(learn(photos, choose, seed)))
        shares = []
        for seed in range(args.draws):
            progress.update(task, description="suspects", advance=1)
            shares.append(suspects(photos, seed))
    means = {name: np.mean(own, axis=0, dtype=np.float32) for name, own in curves.items()}
    show(
        f"Labels for the accuracy of random photos, {args.draws} draws",
        ("random labels", "accuracy", *(name for name in WAYS if name != "random"), "saved"),
        list(_saved(means)),
        markdown=args.markdown,
    )
    show(
        f"Wrong labels among the first suspects, a tenth of {_NUM_FLIPPED_AMONG:,} is wrong",
        ("shown", "mean", "lowest", "highest"),
        [
            [
                str(count),
                *(f"{100 * figure:.0f} %" for figure in (own.mean(), own.min(), own.max())),
            ]
            for count, own in zip(_SHOWN, np.array(shares).T, strict=True)
        ],
        markdown=args.markdown,
    )


def _saved(means: dict[str, Floats]) -> Iterator[list[str]]:
    for count in _RANDOM_LABELS:
        accuracy = float(means["random"][count // _BATCH - 1])
        margin, queue = (labels_for(accuracy, means[name]) for name in ("margin", "queue"))
        figures = f"{100 * accuracy:.1f} %", f"{margin:.0f}", f"{queue:.0f}"
        yield [str(count), *figures, f"{100 * (1 - queue / count):.0f} %"]


if __name__ == "__main__":
    main()
