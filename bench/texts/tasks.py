"""A task: a set of texts embedded by the backbone of a new home, of which each draw labels some.

N rows, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from scipy.stats import t as student

from bench.texts import debian
from bench.texts.embedding import embed
from tests.support.tickets import tickets
from training.dataset import Dataset
from training.head.head import Head

DEBIAN, TICKETS = "debian", "tickets"
# The smallest section that is worth a class has so many.
_PER_SECTION = 220
_NUM_TICKETS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    name: str
    classes: tuple[str, ...]
    texts: tuple[str, ...]
    y_N: NDArray[np.intp]
    x_ND: NDArray[np.float32]

    def draw(self, per_class: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows that are labelled, and those that judge."""
        rng = np.random.default_rng(seed)
        shuffled = (
            rng.permutation(np.flatnonzero(self.y_N == k)) for k in range(len(self.classes))
        )
        labelled = np.sort(np.concatenate([rows_N[:per_class] for rows_N in shuffled]))
        return labelled, np.setdiff1d(np.arange(len(self.y_N)), labelled)

    def dataset(self, rows_N: NDArray[np.intp], x_ND: NDArray[np.float32]) -> Dataset:
        """Return the training rows. `x_ND` has the embeddings of all texts."""
        ids = rows_N.astype(np.int64)
        return Dataset(self.classes, x_ND[rows_N], self.y_N[rows_N], ids.astype(str), ids, len(ids))

    def select(self, rows: Iterable[int]) -> list[str]:
        return [self.texts[row] for row in rows]


def load(name: str, sections: Sequence[str], cache: Path, progress: Progress) -> Task:
    """Load one of `DEBIAN`, of which only these sections, and `TICKETS`."""
    labelled = (
        debian.descriptions(_PER_SECTION, sections=sections)
        if name == DEBIAN
        else tickets(_NUM_TICKETS)
    )
    classes = tuple(sorted({each.label for each in labelled}))
    bar_of_texts = progress.add_task(f"{name}: embedding", total=len(labelled))
    x_ND = embed([each.body for each in labelled], cache, lambda: progress.advance(bar_of_texts))
    y_N = np.array([classes.index(each.label) for each in labelled], np.intp)
    return Task(name, classes, tuple(each.text for each in labelled), y_N, x_ND)


def accuracy_of(head: Head, x_ND: NDArray[np.float32], y_N: NDArray[np.intp]) -> float:
    return float((head.probabilities(x_ND).argmax(axis=1) == y_N).mean())


def interval(values: list[float]) -> str:
    """The mean with its 95 % interval over draws, by Student's t."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:+.1f}"
    margin = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean:+.1f} [{mean - margin:+.1f}, {mean + margin:+.1f}]"
