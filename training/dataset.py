"""The data set of a run: one row for each example whose class has joined.

Suffixes: N rows, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.labels import CurrentLabel


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    classes: tuple[str, ...]
    x_ND: NDArray[np.float32]
    # Indexes `classes`.
    y_N: NDArray[np.intp]
    is_held_out_N: NDArray[np.bool_]
    group_N: NDArray[np.str_]
    example_id_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y_N)

    def part(self, is_in_N: NDArray[np.bool_]) -> Dataset:
        return Dataset(
            self.classes,
            self.x_ND[is_in_N],
            self.y_N[is_in_N],
            self.is_held_out_N[is_in_N],
            self.group_N[is_in_N],
            self.example_id_N[is_in_N],
        )

    @property
    def num_held_out(self) -> int:
        return int(np.count_nonzero(self.is_held_out_N))

    @property
    def num_trained(self) -> int:
        return len(self) - self.num_held_out

    @property
    def training(self) -> Dataset:
        return self.part(~self.is_held_out_N)

    @property
    def held_out(self) -> Dataset:
        return self.part(self.is_held_out_N)


def assemble(
    rows: Sequence[CurrentLabel],
    vectors: Mapping[int, NDArray[np.float16]],
    classes: tuple[str, ...],
) -> Dataset:
    """Put labels and embeddings together; rows of other classes, or not embedded, stay out."""
    index = {name: k for k, name in enumerate(classes)}
    used = [row for row in rows if row.label in index and row.example_id in vectors]
    return Dataset(
        classes,
        np.stack([vectors[row.example_id] for row in used]).astype(np.float32),
        np.array([index[row.label] for row in used], np.intp),
        np.array([row.is_held_out for row in used], np.bool_),
        np.array([row.group_id for row in used]),
        np.array([row.example_id for row in used], np.int64),
    )
