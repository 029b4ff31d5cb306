"""Whether forecasts of the learning curve hold: python -m bench.learning_curve DATA

DATA is a data set: a folder with train/<class>/* and val/<class>/*. The backbone is that of a new
home. Each draw takes a few photos of each class as labels, and forecasts the accuracy with twice
and four times as many, as an analysis does. Then so many more photos are labelled, and the head
that they train is judged on all photos of the data set that no head has seen.

A second table times whole analyses of made-up embeddings, of as many labels as are given.

N rows, D embedding.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.learning.photos import Network, embeddings, read
from bench.tables import bar, show
from core.models.pretrained import choice as pretrained
from training.analysis import example_map
from training.analysis.curve_points import measure
from training.analysis.learning_curve import FACTORS, describe
from training.analysis.out_of_fold import score_out_of_fold
from training.dataset import Dataset
from training.head.fit import fit_head
from training.recipe import HeadRecipe

RECIPE = HeadRecipe()
Rows = NDArray[np.intp]


def dataset(x_ND: NDArray[np.floating], y_N: Rows, rows: Rows, num_held_out: int = 0) -> Dataset:
    classes = tuple(f"class {k:02}" for k in range(int(y_N.max()) + 1))
    return Dataset(classes, x_ND[rows], y_N[rows], rows.astype(str), rows, len(rows) - num_held_out)


def curve_of(data: Dataset) -> dict[str, object]:
    scored = score_out_of_fold(data.training, RECIPE)
    found = measure(data.training, data.held_out, scored, RECIPE, is_backbone_tuned=False)
    return describe(found, data.classes, len(data))


def forecasts(
    x_ND: NDArray[np.float16], y_N: Rows, per_class: int, seed: int
) -> list[tuple[bool, bool, float, float, float]]:
    """For each factor: whether the accuracy, and the gain of doubling, was within its interval; the
    width of the interval, how far the forecast was off, and the gain."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.flatnonzero(y_N == k)) for k in range(int(y_N.max()) + 1)]

    def first(factor: int) -> Rows:
        return np.sort(np.concatenate([order[: per_class * factor] for order in orders]))

    unseen = np.setdiff1d(np.arange(len(y_N)), first(max(FACTORS)))
    curve = curve_of(dataset(x_ND, y_N, first(1)))

    def accuracy(factor: int) -> float:
        data = dataset(x_ND, y_N, first(factor))
        head = fit_head(data, RECIPE, score_all=False).head
        return float((head.probabilities(x_ND[unseen]).argmax(axis=1) == y_N[unseen]).mean())

    before = accuracy(1)
    results = []
    for factor, forecast in zip(FACTORS, curve["forecast"], strict=True):  # type: ignore[call-overload]
        after = accuracy(factor)
        low, high = forecast["interval"]
        least, most = curve["gain_interval"]  # type: ignore[misc]
        results.append(
            (
                low <= after <= high,
                factor != FACTORS[0] or least <= after - before <= most,
                high - low,
                forecast["accuracy"] - after,
                after - before,
            )
        )
    return results


def coverage(
    x_ND: NDArray[np.float16], y_N: Rows, sizes: Sequence[int], num_draws: int
) -> list[list[str]]:
    table = []
    with bar() as progress:
        task = progress.add_task("draws", total=len(sizes) * num_draws)
        for size in sizes:
            draws = []
            for seed in range(num_draws):
                draws.append(forecasts(x_ND, y_N, size, seed))
                progress.advance(task)
            for i, factor in enumerate(FACTORS):
                own = np.array([draw[i] for draw in draws], float)
                held, gain_held, width, off, gained = own.T
                is_gain_said = factor == FACTORS[0]
                table.append(
                    [
                        f"{size}",
                        f"{factor}",
                        f"{held.sum():.0f} of {num_draws}",
                        f"{gain_held.sum():.0f} of {num_draws}" if is_gain_said else "-",
                        f"{100 * width.mean():.1f}",
                        f"{100 * off.mean():+.1f}",
                        f"{100 * np.abs(off).mean():.1f}",
                        f"{100 * gained.mean():.1f}",
                    ]
                )
    return table


def times(sizes: Sequence[tuple[int, int]]) -> list[list[str]]:
    table = []
    for num_labels, num_classes in sizes:
        rng = np.random.default_rng(0)
        y_N = np.arange(num_labels) % num_classes
        centre_KD = 0.12 * rng.standard_normal((num_classes, 1280), np.float32)
        x_ND = centre_KD[y_N] + rng.standard_normal((num_labels, 1280), np.float32)
        data = dataset(x_ND.astype(np.float16), y_N, np.arange(num_labels), num_labels * 18 // 100)
        began = time.perf_counter()
        scored = score_out_of_fold(data.training, RECIPE)
        scored_s = time.perf_counter() - began
        found = measure(data.training, data.held_out, scored, RECIPE, is_backbone_tuned=False)
        describe(found, data.classes, num_labels)
        curve_s = time.perf_counter() - began - scored_s
        example_map.lay_out(data.x_ND, data.y_N)
        map_s = time.perf_counter() - began - scored_s - curve_s
        figures = (scored_s, curve_s, map_s, scored_s + curve_s + map_s)
        table.append(
            [f"{num_labels:,}", f"{num_classes}", *(f"{seconds:.2f}" for seconds in figures)]
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether forecasts of the learning curve hold.")
    parser.add_argument("data", type=Path, help="a folder with train/<class>/* and val/<class>/*")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 20, 50, 100])
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--cache", type=Path, help="a folder for embeddings")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    name = pretrained.NAMES[0]
    model = pretrained.load(name)
    network = Network(name, model.backbone, model.input_spec)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        parts = [read(args.data / part) for part in ("train", "val")]
        cache = args.cache or Path(folder)
        x_ND = np.concatenate([embeddings(photos, network, cache) for photos in parts])
        y_N = np.concatenate([photos.y_N for photos in parts])
        covered = coverage(x_ND.astype(np.float16), y_N, args.sizes, args.draws)
        timed = times(((200, 5), (2_000, 10), (20_000, 50)))
    show(
        f"Forecasts of accuracy, {args.data.name}, {name}, intervals at 95 %",
        (
            *("labels a class", "times", "within", "gain within", "width, points"),
            *("off, mean", "off, absolute", "gained"),
        ),
        covered,
        markdown=args.markdown,
    )
    show(
        "One analysis, seconds",
        ("labels", "classes", "out of fold", "curve", "map", "all"),
        timed,
        markdown=args.markdown,
    )


if __name__ == "__main__":
    main()
