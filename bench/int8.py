"""Accuracy and speed of int8 on your photos: python -m bench.int8 DATA_DIR [--weights DIR]

DATA_DIR holds data sets, or is one: a folder with train/<class>/* and val/<class>/*. Each backbone
is quantised on 100 photos of train, as by `evergreen backbone int8`. Times are medians of one photo
on one thread in the session that serves, in CPU time, with float32 and int8 in turn. Accuracy is
that of a head on val, trained on the embeddings of float32 and of int8 from the same labels.
Without --weights only the backbones with weights of their own are measured.

`--cost NAME ...` times other backbones instead, with random weights and no head.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from bench.learning.photos import Network, data_sets, embeddings, pixels, read
from bench.learning.tables import Follow, cells, following, news, per_class, show, size
from bench.learning.tasks import Task, judge_head, load
from core.models.backbones import Backbone, Runtime
from core.models.pretrained import choice as pretrained
from training.backbones.quantise import evenly, quantise

SECOND = "torchvision/mobilenet_v2"
SIZES: tuple[int | None, ...] = (20, 100)
ROUNDS = 30
_IN_A_ROW = 4

COST = (
    "backbone",
    "calibrated on",
    "MB",
    "MB, int8",
    "ms",
    "ms, int8",
    "times as fast",
    "float32 layers",
)
ACCURACY = ("data", "backbone", "labels a class", "float32", "int8", "change, points")


def main() -> None:
    args = _arguments()
    columns = (TextColumn("{task.description:<52}"), BarColumn(), MofNCompleteColumn())
    cost_rows: list[list[str]] = []
    accuracy_rows: list[list[str]] = []
    with (
        threadpool_limits(args.threads),
        Progress(*columns, TimeElapsedColumn(), console=news) as progress,
    ):
        follow = partial(following, progress)
        for folder in data_sets(args.data, args.only):
            if args.cost:
                cost_rows += [_other(folder, name, args, follow) for name in args.cost]
                continue
            for name in (*pretrained.NAMES, *((SECOND,) if args.weights else ())):
                task = load(folder, name, args.weights, args.cache, follow)
                photos_NHWC = pixels(task.train, task.network.pixels, args.cache)
                chosen_NHWC = photos_NHWC[evenly(len(photos_NHWC))]
                network, row = _quantised(folder, task.network, chosen_NHWC, args.rounds)
                cost_rows.append(row)
                accuracy_rows += _accuracy(task, network, args, follow)
    show("Cost", COST, cost_rows, as_markdown=args.markdown)
    if accuracy_rows:
        show("Accuracy on val", ACCURACY, accuracy_rows, as_markdown=args.markdown)


def _quantised(
    folder: Path, network: Network, photos_NHWC: NDArray[np.uint8], rounds: int
) -> tuple[Network, list[str]]:
    result = quantise(network.onnx, photos_NHWC)
    content = result.content
    before_ms, after_ms = take_turns([network.onnx, content], photos_NHWC[:1], rounds)
    figures = (
        f"{len(network.onnx) / 1e6:.1f}",
        f"{len(content) / 1e6:.1f}",
        f"{before_ms:.2f}",
        f"{after_ms:.2f}",
        f"{before_ms / after_ms:.2f}",
        f"{result.num_float32} of {result.num_linear}",
    )
    return dataclasses.replace(network, onnx=content), [network.name, folder.name, *figures]


def take_turns(models: list[bytes], photo_1HWC: NDArray[np.uint8], rounds: int) -> list[float]:
    """Return the median milliseconds of CPU time of each model. They take turns."""
    runtime = Runtime(provider="cpu", threads=1)
    backbones = [Backbone(content, str(i), runtime) for i, content in enumerate(models)]
    taken: list[list[float]] = [[] for _ in models]
    for _ in range(rounds):
        for backbone, own in zip(backbones, taken, strict=True):
            for at in range(_IN_A_ROW):
                began = time.thread_time()
                backbone.embed(photo_1HWC)
                if at > 0:  # the first one after the other model has cold caches
                    own.append(1000 * (time.thread_time() - began))
    return [statistics.median(own) for own in taken]


def _accuracy(
    task: Task, network: Network, args: argparse.Namespace, follow: Follow
) -> list[list[str]]:
    both = []
    for photos in (task.train, task.val):
        with follow(f"{task.name}, {network.name} in int8: embedding", len(photos)) as report:
            both.append(embeddings(photos, network, args.cache, report))
    other = dataclasses.replace(task, network=network, x_ND=both[0], val_x_ND=both[1])
    rows = []
    for wanted in args.sizes:
        measured = []
        for seed in range(1 if wanted is None else args.seeds):
            rows_N = task.sample(wanted, seed)
            accuracies = [
                judge_head(which, rows_N, task.train.y_N[rows_N])[0] for which in (task, other)
            ]
            measured.append((*accuracies, 100 * (accuracies[1] - accuracies[0])))
        figures = cells(measured, (".3f", ".3f", ".1f"))
        rows.append([task.name, network.name, size(wanted), *figures])
        news.print(*rows[-1], sep="  ", highlight=False)
    return rows


def _other(folder: Path, name: str, args: argparse.Namespace, follow: Follow) -> list[str]:
    from training.backbones.backbone import build
    from training.backbones.export import export_backbone

    module = build(name, pretrained=name in pretrained.NAMES)
    photos = read(folder / "val")
    chosen = evenly(len(photos))
    few = dataclasses.replace(
        photos,
        files=tuple(photos.files[i] for i in chosen),
        y_N=photos.y_N[chosen],
        digest_N=photos.digest_N[chosen],
    )
    with follow(f"{name}: decoding", len(few)) as report:
        photos_NHWC = np.asarray(pixels(few, module.pixels, args.cache, report))
    network = Network(name, export_backbone(module), module.pixels)
    return _quantised(folder, network, photos_NHWC, args.rounds)[1]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare int8 with float32.")
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--only", help="only the data set of this name")
    parser.add_argument("--weights", type=Path, help=f"folder with the weights of {SECOND}")
    parser.add_argument("--cost", nargs="+", metavar="NAME", help="only time these backbones")
    parser.add_argument("--sizes", type=per_class, nargs="+", default=SIZES, help="20 100 all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", action="store_true")
    cache = Path(tempfile.gettempdir()) / "evergreen-bench-cache"
    parser.add_argument("--cache", type=Path, default=cache)
    return parser.parse_args()


if __name__ == "__main__":
    main()
