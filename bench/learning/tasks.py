"""A task: a data set embedded by one backbone, and the evaluation of heads on it.

N rows, D embedding, K classes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.learning.photos import Network, Photos, embeddings, read
from bench.learning.tables import Follow
from core.models.pretrained import choice as pretrained
from training.dataset import Dataset
from training.head.calibration import expected_calibration_error
from training.head.fit import fit_head
from training.head.head import Head
from training.recipe import HeadRecipe

#: The file of each backbone in the folder of weights.
FILES = {
    "torchvision/mobilenet_v2": "mobilenet_v2_features.safetensors",
    "torchvision/squeezenet1_1": "squeezenet1_1.safetensors",
}


@dataclass(frozen=True, slots=True)
class Task:
    """A data set with the embeddings of one backbone. The photos of `val` evaluate."""

    name: str
    network: Network
    # The torch module that is tuned.
    module: Any
    train: Photos
    val: Photos
    x_ND: NDArray[np.float32]
    val_x_ND: NDArray[np.float32]

    def sample(self, per_class: int | None, seed: int) -> NDArray[np.intp]:
        """Draw this many photos of each class, or all. Returns rows, equal for every backbone."""
        rng = np.random.default_rng(seed)
        classes = range(len(self.train.classes))
        shuffled = [rng.permutation(np.flatnonzero(self.train.y_N == k)) for k in classes]
        return np.sort(np.concatenate([rows_N[:per_class] for rows_N in shuffled]))

    def dataset(
        self, rows_N: NDArray[np.intp], y_N: NDArray[np.intp], x_ND: NDArray[np.float32]
    ) -> Dataset:
        digest_N = self.train.digest_N[rows_N]
        return Dataset(self.train.classes, x_ND, y_N, digest_N, rows_N.astype(np.int64), len(y_N))


def load(folder: Path, name: str, weights: Path | None, cache: Path, follow: Follow) -> Task:
    module, network = _network(name, weights)
    parts = []
    for part in ("train", "val"):
        photos = read(folder / part)
        with follow(f"{folder.name}, {name}: embedding {part}", len(photos)) as report:
            parts.append((photos, embeddings(photos, network, cache, report)))
    (train, x_ND), (val, val_x_ND) = parts
    if train.classes != val.classes:
        raise SystemExit(f"{folder}: train and val have different classes")
    return Task(folder.name, network, module, train, val, x_ND, val_x_ND)


def _network(name: str, weights: Path | None) -> tuple[Any, Network]:
    from training.backbones.backbone import build
    from training.backbones.export import export_backbone

    if name in pretrained.NAMES:
        model = pretrained.load(name)
        return build(name), Network(name, model.backbone, model.input_spec)
    assert weights is not None
    module = build(name, weights / FILES[name])
    return module, Network(name, export_backbone(module), module.pixels)


def judge_head(
    task: Task, rows_N: NDArray[np.intp], y_N: NDArray[np.intp]
) -> tuple[float, float, float]:
    """Fit a head. Returns its accuracy and calibration error on val, and CPU seconds."""
    dataset = task.dataset(rows_N, y_N, task.x_ND[rows_N])
    began = time.process_time()
    head = fit_head(dataset, HeadRecipe(), score_all=False).head
    seconds = time.process_time() - began
    return *judge(head, task.val_x_ND, task.val.y_N), seconds


def judge(head: Head, x_ND: NDArray[np.float32], y_N: NDArray[np.intp]) -> tuple[float, float]:
    probs_NK = head.probabilities(x_ND)
    accuracy = float((probs_NK.argmax(axis=1) == y_N).mean())
    return accuracy, expected_calibration_error(probs_NK, y_N)
