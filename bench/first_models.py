"""How honest first models are: python -m bench.first_models DATA --draws 60

DATA is a data set: a folder with train/<class>/* and val/<class>/*. Each draw takes a few photos of
each class, fits a head on embeddings of the bundled starter, and asks the gate about it. The
champion knows none of the classes. Three tables come out:

- confidence: the share of draws whose calibration error on val is above 0.15;
- few labels: the share of first models that the gate holds back, and their accuracy on val;
- imbalance: the same with all photos of one class and ten of another, one in five held out.

N rows, D embedding.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.learning.photos import Network, Photos, embeddings, read
from bench.learning.tables import show
from bench.learning.tasks import judge
from core.models.pretrained import starter
from training.backbones.names import STARTER
from training.dataset import Dataset
from training.gate.evaluate import method_of
from training.gate.evidence import Decision, Evidence
from training.gate.rules import decide
from training.head.fit import FittedHead, fit_head
from training.recipe import Recipe

_LIMIT = 0.15
_RARE = 10
_ALWAYS_TRAINED = 4
_RECIPE = Recipe()
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    photos: Photos
    x_ND: NDArray[np.float32]

    def dataset(self, trained_N: Rows, held_out_N: Rows) -> Dataset:
        rows_N = np.concatenate([trained_N, held_out_N])
        used, y_N = np.unique(self.photos.y_N[rows_N], return_inverse=True)
        classes = tuple(self.photos.classes[k] for k in used)
        digest_N = self.photos.digest_N[rows_N]
        return Dataset(classes, self.x_ND[rows_N], y_N, digest_N, rows_N, len(trained_N))

    def draw(self, k: int, number: int | None, rng: np.random.Generator) -> Rows:
        return rng.permutation(np.flatnonzero(self.photos.y_N == k))[:number]


def first_model(dataset: Dataset) -> tuple[FittedHead, Decision]:
    """Fit a first model and let the gate judge it, as a run does."""
    method = method_of(dataset, frozenset(), _RECIPE.gate)
    in_folds = method == "cross-validation"
    fitted = fit_head(dataset.training, _RECIPE.head, score_all=in_folds)
    held_out = dataset.held_out
    right_N = np.zeros(0, np.bool_)
    if len(held_out):
        right_N = fitted.head.logits(held_out.x_ND).argmax(axis=1) == held_out.y_N
    label_N = held_out.y_N
    if in_folds:
        own_N = fitted.out_of_fold_NK.argmax(axis=1) == dataset.training.y_N
        right_N, label_N = np.concatenate([own_N, right_N]), dataset.y_N
    evidence = Evidence(
        method=method,
        classes=dataset.classes,
        label_N=label_N,
        champion_correct_N=np.zeros(len(label_N), np.bool_),
        challenger_correct_N=right_N,
        old_classes=frozenset(),
        champion_version=1,
        parity=0.0,
        latency_ratio=1.0,
        size_bytes=0,
    )
    return fitted, decide(evidence, _RECIPE.gate)


def few_labels(train: Embedded, val: Embedded, per_class: int, num_draws: int) -> list[str]:
    errors, accuracies, own, held_back = [], [], [], []
    for seed in range(num_draws):
        rng = np.random.default_rng(seed)
        drawn = [train.draw(k, per_class, rng) for k in range(len(train.photos.classes))]
        fitted, decision = first_model(
            train.dataset(np.sort(np.concatenate(drawn)), np.zeros(0, np.intp))
        )
        accuracy, error = judge(fitted.head, val.x_ND, val.photos.y_N)
        accuracies.append(accuracy)
        errors.append(error)
        own.append(decision.challenger_accuracy or 0.0)
        held_back.append(not decision.promote)
    above = np.mean(np.array(errors) > _LIMIT)
    figures = np.mean(accuracies), np.mean(own), np.mean(errors), above, np.mean(held_back)
    return [str(per_class), *(f"{figure:.3f}" for figure in figures)]


def imbalance(train: Embedded, common: int, rare: int, num_draws: int) -> list[str]:
    """Of each class the first four photos train, and of the others one in five is held out."""
    held_back, num_held_out = [], []
    for seed in range(num_draws):
        rng = np.random.default_rng(seed)
        trained, held_out = [], []
        for rows_N in (train.draw(common, None, rng), train.draw(rare, _RARE, rng)):
            is_held_out_N = rng.random(len(rows_N)) < 0.2
            is_held_out_N[:_ALWAYS_TRAINED] = False
            trained.append(rows_N[~is_held_out_N])
            held_out.append(rows_N[is_held_out_N])
        dataset = train.dataset(np.concatenate(trained), np.concatenate(held_out))
        held_back.append(not first_model(dataset)[1].promote)
        num_held_out.append(len(held_out[1]))
    names = train.photos.classes
    figures = np.mean(num_held_out), np.mean(held_back)
    return [names[common], names[rare], *(f"{figure:.3f}" for figure in figures)]


def main() -> None:
    args = _arguments()
    network = Network(STARTER, starter.backbone_onnx(), starter.pixel_spec())
    with threadpool_limits(1):
        train, val = (
            Embedded(photos, embeddings(photos, network, args.cache))
            for photos in (read(args.data / part) for part in ("train", "val"))
        )
        few = [few_labels(train, val, number, args.draws) for number in args.sizes]
        size_K = np.bincount(train.photos.y_N)
        common = int(size_K.argmax())
        others = [k for k in range(len(size_K)) if k != common]
        rare = [imbalance(train, common, k, args.draws) for k in others]
    show(
        f"First models of {len(size_K)} classes, {args.draws} draws",
        ("labels a class", "accuracy", "out of fold", "calibration error", "above 0.15",
         "held back"),
        few,
        as_markdown=args.markdown,
    )  # fmt: skip
    show(
        f"All photos of one class, {_RARE} of another",
        ("common", "rare", "rare ones held out", "held back"),
        rare,
        as_markdown=args.markdown,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How honest first models are.")
    parser.add_argument("data", type=Path, help="a folder with train/<class>/* and val/<class>/*")
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 3, 5, 10, 15])
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "evergreen-bench",
        help="folder for embeddings",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
