"""Confusion matrices: how often each label was predicted as each class.

Suffixes: N examples, C all classes that a label or a version names, K classes that are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.class_names import identity
from core.review.comparing import paired_tests
from core.review.comparing.version_scores import HeldOut, VersionScores

Ints = NDArray[np.intp]

MAX_SHOWN = 200
#: The name of what is not shown by itself.
OTHER = "(other)"


class ClassIndex:
    """One number for all spellings of a class. The first spelling is shown."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def numbers(self, names: Iterable[str]) -> Ints:
        """The number of each name, which is new if no spelling of it was here before."""
        return np.array([self._number(name) for name in names], np.intp)

    def _number(self, name: str) -> int:
        key = identity(name)
        if key not in self._numbers:
            self._numbers[key] = len(self.names)
            self.names.append(name)
        return self._numbers[key]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The classes of a matrix: those with the most examples, and the bucket for all others."""

    names: tuple[str, ...]
    # The place of the bucket; None: there is none.
    other: int | None
    # The place of each class.
    place_C: Ints

    def matrix(self, label_N: Ints, predicted_N: Ints) -> Ints:
        """Count the examples. Rows are labels, columns what was predicted."""
        size = len(self.names)
        cells_N = self.place_C[label_N] * size + self.place_C[predicted_N]
        return np.bincount(cells_N, minlength=size * size).reshape(size, size)


def shown(index: ClassIndex, label_N: Ints, predicted: Sequence[Ints]) -> Shown:
    """The classes that occur, those with the most labels first, then those predicted most."""
    num_all = len(index.names)
    labelled_C = np.bincount(label_N, minlength=num_all)
    predicted_C = sum((np.bincount(each_N, minlength=num_all) for each_N in predicted), labelled_C)
    order = [int(k) for k in np.lexsort((-predicted_C, -labelled_C)) if predicted_C[k]]
    kept = order[:MAX_SHOWN]
    names = [index.names[k] for k in kept]
    other = len(kept) if len(order) > len(kept) else None
    if other is not None:
        names.append(OTHER)
    place_C = np.full(num_all, len(kept), np.intp)
    place_C[kept] = np.arange(len(kept))
    return Shown(tuple(names), other, place_C)


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Of one version. The interval of its accuracy is at 95 %."""

    version: int
    num_judged: int
    num_right: int
    interval: tuple[float, float]
    num_not_embedded: int
    names: tuple[str, ...]
    other: int | None
    matrix_KK: Ints
    # By label: examples judged, and those of them that were right.
    by_class: dict[str, tuple[int, int]]

    @property
    def accuracy(self) -> float:
        return self.num_right / max(self.num_judged, 1)


def confusion(held_out: HeldOut, scores: VersionScores) -> Confusion:
    """Judge a version on the held-out examples of the classes that it knows."""
    index = ClassIndex()
    label_N = index.numbers(held_out.names)[held_out.label_N]
    class_K = index.numbers(scores.classes)
    is_known_N = np.isin(label_N, class_K)
    is_judged_N = is_known_N & (scores.predicted_N >= 0)
    label_N = label_N[is_judged_N]
    predicted_N = class_K[scores.predicted_N[is_judged_N]]
    is_right_N = label_N == predicted_N
    shows = shown(index, label_N, [predicted_N])
    judged_C, right_C = np.bincount(label_N), np.bincount(label_N[is_right_N])
    right_C = np.pad(right_C, (0, len(judged_C) - len(right_C)))
    num_judged, num_right = len(label_N), int(np.count_nonzero(is_right_N))
    by_class = {
        index.names[k]: (int(judged_C[k]), int(right_C[k])) for k in np.flatnonzero(judged_C)
    }
    return Confusion(
        scores.version,
        num_judged,
        num_right,
        paired_tests.wilson(num_right, num_judged),
        int(np.count_nonzero(is_known_N)) - num_judged,
        shows.names,
        shows.other,
        shows.matrix(label_N, predicted_N),
        dict(sorted(by_class.items())),
    )
