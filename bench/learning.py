"""How well it learns from few and many labels, on your photos: python -m bench.learning DATA_DIR

DATA_DIR holds data sets, or is one: a folder with train/<class>/* and val/<class>/*. The head is
judged beside scikit-learn's logistic regression on the same features, the tuned blocks beside a
full fine-tune of the same photos. Seconds are the processor's, which neighbours on the machine
disturb less than the clock. Without --weights only the bundled starter takes part.

N rows, D embedding, K classes; H/W pixels, C channels.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from threadpoolctl import threadpool_limits

from bench import plain
from bench.photos import Network, Photos, data_sets, embeddings, pixels, read
from core import starter
from training.backbone_names import STARTER
from training.calibration import expected_calibration_error
from training.crossval import assign_folds
from training.dataset import Dataset
from training.fit_head import FittedHead, fit_head
from training.head import Head
from training.recipe import HeadRecipe
from training.tune_recipe import BlocksRecipe

SIZES: tuple[int | None, ...] = (5, 20, 100, None)
# Fewer leave nothing to choose the epoch by.
_FEWEST_FOR_BLOCKS = 20
FLIPPED = 0.1
_FILES = {
    "torchvision/mobilenet_v2": "mobilenet_v2_features.safetensors",
    "torchvision/squeezenet1_1": "squeezenet1_1.safetensors",
}
_WITH_BLOCKS = (STARTER,)
_WITH_ALL_BLOCKS = (STARTER, "torchvision/mobilenet_v2")

console = Console()
news = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Task:
    """A data set as one backbone sees it; the photos of `val` judge."""

    name: str
    network: Network
    # The torch module, where there is one to tune.
    module: Any
    train: Photos
    val: Photos
    x_ND: NDArray[np.float32]
    val_x_ND: NDArray[np.float32]

    def sample(self, per_class: int | None, seed: int) -> NDArray[np.intp]:
        """Row numbers: so many photos of each class, or all; equal for every backbone."""
        rng = np.random.default_rng(seed)
        classes = range(len(self.train.classes))
        shuffled = [rng.permutation(np.flatnonzero(self.train.y_N == k)) for k in classes]
        return np.sort(np.concatenate([rows_N[:per_class] for rows_N in shuffled]))


def main() -> None:
    args = _arguments()
    names = [STARTER, *(_FILES if args.weights else ())]
    names = [name for name in names if args.backbone in (None, name)]
    head_rows: list[list[str]] = []
    blocks_rows: list[list[str]] = []
    columns = (TextColumn("{task.description:<52}"), BarColumn(), MofNCompleteColumn())
    with (
        threadpool_limits(args.threads),
        Progress(*columns, TimeElapsedColumn(), console=news) as progress,
    ):
        for folder in data_sets(args.data, args.only):
            for name in names:
                task = _load(folder, name, args.weights, args.cache, progress)
                if not args.skip_head:
                    head_rows += _head_rows(task, args.sizes, args.seeds, progress)
                if name in (_WITH_ALL_BLOCKS if args.blocks_all else _WITH_BLOCKS) and (
                    args.blocks or args.blocks_all
                ):
                    blocks_rows += _blocks_rows(task, args, progress)
    tables = [
        (_HEAD_TITLE, _HEAD_COLUMNS, head_rows),
        (_BLOCKS_TITLE, _BLOCKS_COLUMNS, blocks_rows),
    ]
    for title, headings, rows in tables:
        if rows:
            _show(title, headings, rows, as_markdown=args.markdown)


def _load(folder: Path, name: str, weights: Path | None, cache: Path, progress: Progress) -> Task:
    module, network = _network(name, weights)
    found = []
    for part in ("train", "val"):
        photos = read(folder / part)
        with _following(progress, f"{folder.name}, {name}: embedding {part}", len(photos)) as tell:
            found.append((photos, embeddings(photos, network, cache, tell)))
    (train, x_ND), (val, val_x_ND) = found
    if train.classes != val.classes:
        raise SystemExit(f"{folder}: train and val have different classes")
    return Task(folder.name, network, module, train, val, x_ND, val_x_ND)


def _network(name: str, weights: Path | None) -> tuple[Any, Network]:
    from training.torch_backbone import build
    from training.torch_export import export_backbone

    if name == STARTER:
        return build(name), Network(name, starter.backbone_onnx(), starter.pixel_spec())
    assert weights is not None
    module = build(name, weights / _FILES[name])
    return module, Network(name, export_backbone(module), module.pixels)


# --- tier `head`

_HEAD_TITLE = "Tier head: accuracy on val, mean ± spread over seeds"
_HEAD_COLUMNS = (
    "data", "backbone", "labels a class", "head", "10 % flipped", "cost, points",
    "calibration error", "seconds", "regression, tuned", "best on val", "seconds",
)  # fmt: skip


def _head_rows(
    task: Task, sizes: Sequence[int | None], num_seeds: int, progress: Progress
) -> list[list[str]]:
    rows = []
    text = f"{task.name}, {task.network.name}: heads"
    with _following(progress, text, len(sizes) * num_seeds) as tell:
        for at, per_class in enumerate(sizes):
            measured: list[tuple[float, ...]] = []
            whole: tuple[tuple[float, ...], plain.Regression] | None = None
            for seed in range(num_seeds):
                rows_N = task.sample(per_class, seed)
                y_N = task.train.y_N[rows_N]
                # All labels are the same labels under every seed: only the flips differ.
                if whole is None or per_class is not None:
                    rival = plain.logistic_regression(
                        task.x_ND[rows_N], y_N, task.val_x_ND, task.val.y_N
                    )
                    whole = _judge_head(task, rows_N, y_N), rival
                (right, error, seconds), rival = whole
                noisy, *_ = _judge_head(task, rows_N, _flipped(y_N, seed))
                measured.append((right, noisy, 100 * (right - noisy), error, seconds))
                measured[-1] += (rival.tuned, rival.oracle, rival.seconds)
                tell(at * num_seeds + seed + 1)
            cells = _cells(measured, (".3f", ".3f", ".1f", ".3f", ".2f", ".3f", ".3f", ".1f"))
            rows.append([task.name, task.network.name, _size(per_class), *cells])
            news.print(*rows[-1], sep="  ", highlight=False)
    return rows


def _judge_head(
    task: Task, rows_N: NDArray[np.intp], y_N: NDArray[np.intp]
) -> tuple[float, float, float]:
    """Accuracy and calibration error on val, and the seconds of the fit."""
    dataset = _dataset(task, rows_N, y_N, task.x_ND[rows_N])
    began = time.process_time()
    head = fit_head(dataset, HeadRecipe(), score_all=False).head
    seconds = time.process_time() - began
    return *_judge(head, task.val_x_ND, task.val.y_N), seconds


def _flipped(y_N: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """A tenth of the labels become another class, any with the same chance."""
    rng = np.random.default_rng((seed, 1))
    at = rng.permutation(len(y_N))[: round(FLIPPED * len(y_N))]
    num_classes = int(y_N.max()) + 1
    y_N = y_N.copy()
    y_N[at] = (y_N[at] + rng.integers(1, num_classes, len(at))) % num_classes
    return y_N


def _dataset(
    task: Task, rows_N: NDArray[np.intp], y_N: NDArray[np.intp], x_ND: NDArray[np.float32]
) -> Dataset:
    nothing_N = np.zeros(len(y_N), np.bool_)
    digest_N = task.train.digest_N[rows_N]
    return Dataset(task.train.classes, x_ND, y_N, nothing_N, digest_N, rows_N.astype(np.int64))


def _judge(head: Head, x_ND: NDArray[np.float32], y_N: NDArray[np.intp]) -> tuple[float, float]:
    probs_NK = head.probabilities(x_ND)
    right = float((probs_NK.argmax(axis=1) == y_N).mean())
    return right, expected_calibration_error(probs_NK, y_N)


# --- tier `blocks`

_BLOCKS_TITLE = "Tier blocks: accuracy on val, mean ± spread over seeds"
_BLOCKS_COLUMNS = (
    "data", "backbone", "labels a class", "head", "blocks", "gain, points", "calibration error",
    "seconds", "full fine-tune", "seconds",
)  # fmt: skip


def _blocks_rows(task: Task, args: argparse.Namespace, progress: Progress) -> list[list[str]]:
    import torch

    torch.set_num_threads(args.threads)
    spec = task.network.pixels
    train_NHWC, val_NHWC = (pixels(photos, spec, args.cache) for photos in (task.train, task.val))
    chosen = {name: getattr(args, name) for name in ("depth", "epochs") if getattr(args, name)}
    recipe = dataclasses.replace(BlocksRecipe(), **chosen)
    sizes = [size for size in args.sizes if size is None or size >= _FEWEST_FOR_BLOCKS]
    rows = []
    text = f"{task.name}, {task.network.name}: blocks"
    with _following(progress, text, len(sizes) * args.seeds) as tell:
        for at, per_class in enumerate(sizes):
            measured = []
            for seed in range(args.seeds):
                rows_N = task.sample(per_class, seed)
                mine_NHWC = np.ascontiguousarray(train_NHWC[rows_N])
                head_right, *_ = _judge_head(task, rows_N, task.train.y_N[rows_N])
                right, error, seconds = _tune(task, rows_N, mine_NHWC, val_NHWC, recipe, seed)
                began = time.process_time()
                logits_NK = plain.full_fine_tune(
                    task.module,
                    mine_NHWC,
                    task.train.y_N[rows_N],
                    len(task.train.classes),
                    val_NHWC,
                    max_epochs=recipe.epochs,
                    max_seconds=seconds,
                    seed=seed,
                )
                plain_s = time.process_time() - began
                plain_right = float((logits_NK.argmax(axis=1) == task.val.y_N).mean())
                gain = 100 * (right - head_right)
                measured.append((head_right, right, gain, error, seconds, plain_right, plain_s))
                tell(at * args.seeds + seed + 1)
            cells = _cells(measured, (".3f", ".3f", ".1f", ".3f", ".0f", ".3f", ".0f"))
            rows.append([task.name, task.network.name, _size(per_class), *cells])
            news.print(*rows[-1], sep="  ", highlight=False)
    return rows


def _tune(
    task: Task,
    rows_N: NDArray[np.intp],
    pixels_NHWC: NDArray[np.uint8],
    val_NHWC: NDArray[np.uint8],
    recipe: BlocksRecipe,
    seed: int,
) -> tuple[float, float, float]:
    """Accuracy and calibration error on val, and the seconds, done as a run does it: one fold
    chooses the epoch, then the head is fitted anew on the tuned backbone."""
    from training.torch_tune import tune

    dataset = _dataset(task, rows_N, task.train.y_N[rows_N], task.x_ND[rows_N])
    is_held_out_N = assign_folds(dataset.group_N, dataset.y_N, 5, seed) == 0
    began = time.process_time()
    start = fit_head(dataset.part(~is_held_out_N), HeadRecipe(), score_all=False).head
    depth = min(recipe.depth, len(task.module.blocks))
    with tempfile.TemporaryDirectory() as folder:
        tuned = tune(
            task.module,
            start,
            pixels_NHWC,
            dataset.y_N,
            is_held_out_N,
            dataclasses.replace(recipe, depth=depth),
            Path(folder),
            seed=seed,
            device="cpu",
            clock=time.process_time,
        )
    x_ND = _embed(tuned.backbone, pixels_NHWC)
    again = _dataset(task, rows_N, dataset.y_N, x_ND)
    fitted: FittedHead = fit_head(
        again, HeadRecipe(), score_all=False, calibrate_on=again.part(is_held_out_N)
    )
    seconds = time.process_time() - began
    return *_judge(fitted.head, _embed(tuned.backbone, val_NHWC), task.val.y_N), seconds


def _embed(backbone: Any, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        batches = [
            backbone(torch.from_numpy(np.array(pixels_NHWC[i : i + 64]))).numpy()
            for i in range(0, len(pixels_NHWC), 64)
        ]
    return np.concatenate(batches)


# --- what is shown


class _following:
    """A progress bar for one piece of work; gives a function that is told how much is done."""

    def __init__(self, progress: Progress, text: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=total)

    def __enter__(self) -> Callable[[int], None]:
        return lambda done: self._progress.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        self._progress.stop_task(self._task)


def _per_class(text: str) -> int | None:
    return None if text == "all" else int(text)


def _size(per_class: int | None) -> str:
    return "all" if per_class is None else str(per_class)


def _cells(measured: Sequence[tuple[float, ...]], formats: Iterable[str]) -> list[str]:
    """The mean of each figure, and its standard deviation over seeds where it varies."""
    cells = []
    for values, form in zip(zip(*measured, strict=True), formats, strict=True):
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        mean = format(float(np.mean(values)), form)
        shows_spread = spread > 0 and form in (".3f", ".1f")
        cells.append(f"{mean} ± {spread:{form}}" if shows_spread else mean)
    return cells


def _show(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, as_markdown: bool
) -> None:
    if as_markdown:
        right = ["---"] * 2 + ["---:"] * (len(headings) - 2)
        lines = [headings, right, *rows]
        print(f"{title}\n", *(f"| {' | '.join(line)} |" for line in lines), "", sep="\n")
        return
    table = Table(title=title)
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="left" if at < 2 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--weights", type=Path, help=f"a folder with {', '.join(_FILES.values())}")
    parser.add_argument("--backbone", choices=(STARTER, *_FILES), help="only this one")
    parser.add_argument("--only", help="only the data set of this name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--sizes", type=_per_class, nargs="+", default=SIZES, help="labels a class, or: all"
    )
    parser.add_argument("--blocks", action="store_true", help="also tune blocks of the starter")
    parser.add_argument("--blocks-all", action="store_true", help="and of mobilenet_v2: hours")
    parser.add_argument("--skip-head", action="store_true", help="with --blocks: only those")
    parser.add_argument("--epochs", type=int, help="of tuning; by default the recipe's")
    parser.add_argument("--depth", type=int, help="blocks to tune; by default the recipe's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    default = Path(tempfile.gettempdir()) / "evergreen-bench"
    parser.add_argument("--cache", type=Path, default=default, help="keeps pixels and embeddings")
    return parser.parse_args()


if __name__ == "__main__":
    main()
