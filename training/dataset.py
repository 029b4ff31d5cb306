"""The data set of a run: one row for each example whose class has joined.

Suffixes: N rows, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import NotEnoughLabels
from core.labelling.census import check_enough, take_census
from core.labelling.labels import CurrentLabel

_MAX_NAMED = 10


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Training rows, followed by held-out rows, so that each part is a view and no copy."""

    classes: tuple[str, ...]
    # In float16, as they are stored: `training/head/chunks.py` reads them in float32.
    x_ND: NDArray[np.floating[Any]]
    # Indexes `classes`.
    y_N: NDArray[np.intp]
    group_N: NDArray[np.str_]
    example_id_N: NDArray[np.int64]
    num_trained: int

    def __len__(self) -> int:
        return len(self.y_N)

    def part(self, rows: NDArray[np.bool_] | slice) -> Dataset:
        is_trained_N = np.arange(len(self)) < self.num_trained
        return Dataset(
            self.classes,
            self.x_ND[rows],
            self.y_N[rows],
            self.group_N[rows],
            self.example_id_N[rows],
            int(np.count_nonzero(is_trained_N[rows])),
        )

    @property
    def num_held_out(self) -> int:
        return len(self) - self.num_trained

    @property
    def training(self) -> Dataset:
        return self.part(slice(self.num_trained))

    @property
    def held_out(self) -> Dataset:
        return self.part(slice(self.num_trained, None))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """What a run learns from: the same rows, embedded by two backbones."""

    # By the backbone that the run trains a head on.
    dataset: Dataset
    # By the champion's: `dataset` itself if both have one backbone.
    champion_dataset: Dataset
    # The newest label event among the rows.
    snapshot: int
    # Ids of labelled examples whose images could not be read.
    left_out: tuple[int, ...] = ()
    # Ids of examples whose images are lost, and whose embeddings are stored.
    embedded_only: tuple[int, ...] = ()

    def describe_lost(self) -> str:
        """Name what is lost, for the reason of a run. Empty if nothing is."""
        text = describe_left_out(self.left_out)
        if self.embedded_only:
            named = _name(self.embedded_only)
            text += f"; trained on stored embeddings, as their inputs are lost: {named}"
        return text


def describe_left_out(example_ids: Sequence[int]) -> str:
    """Name the first of them, for the reason of a run. Empty if there are none."""
    if not example_ids:
        return ""
    named = _name(example_ids)
    return f"; left out, as their inputs are missing, damaged or above a limit: {named}"


def _name(example_ids: Sequence[int]) -> str:
    named = ", ".join(map(str, example_ids[:_MAX_NAMED]))
    more = len(example_ids) - _MAX_NAMED
    noun = "example" if len(example_ids) == 1 else "examples"
    return f"{len(example_ids):,} {noun} ({named}{f' and {more:,} more' if more > 0 else ''})"


def trainable_classes(rows: Sequence[CurrentLabel], left_out: Sequence[int]) -> tuple[str, ...]:
    """Return the classes that these rows can train. Raises NotEnoughLabels."""
    census = take_census(rows)
    try:
        check_enough(census)
    except NotEnoughLabels as error:
        raise NotEnoughLabels(f"{error}{describe_left_out(left_out)}") from None
    return census.classes


def assemble(
    rows: Sequence[CurrentLabel],
    vectors: Mapping[int, NDArray[np.float16]],
    classes: tuple[str, ...],
) -> Dataset:
    """Join labels and embeddings. Rows of other classes or without an embedding are left out.

    Raises ValueError if no row is left.
    """
    index = {name: k for k, name in enumerate(classes)}
    used = [row for row in rows if row.label in index and row.example_id in vectors]
    used.sort(key=lambda row: row.is_held_out)
    return Dataset(
        classes,
        np.stack([vectors[row.example_id] for row in used]),
        np.array([index[row.label] for row in used], np.intp),
        np.array([row.group_id for row in used]),
        np.array([row.example_id for row in used], np.int64),
        sum(not row.is_held_out for row in used),
    )
