"""How similar each example is to the references of a version that are not its near-duplicates.

Suffixes: N rows, M references, B rows of a chunk, R directions, D embedding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.models.references import NUM_NEIGHBOURS, References, mean_of_nearest, project
from training.head.chunks import in_float32

# A reference is the row itself, rounded to float16.
_SAME = 1e-4
_CHUNK = 2_048


def similarities(
    x_ND: NDArray[np.floating[Any]], group_N: NDArray[np.str_], references: References
) -> NDArray[np.float32]:
    """Return the mean cosine of each row to its five nearest references [N].

    References of the row's own near-duplicate group do not count: an example would be similar to
    itself. NaN where fewer than five are left.
    """
    projected_NR = in_float32(x_ND, lambda x_BD: project(x_BD, references.basis_DR))
    group_M = _groups_of(group_N, projected_NR, references)
    similarity_N = np.empty(len(x_ND), np.float32)
    for start in range(0, len(x_ND), _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosine_BM = projected_NR[rows] @ references.references_NR.T
        is_own_BM = group_N[rows][:, None] == group_M
        cosine_BM[is_own_BM] = -np.inf
        is_known_B = (~is_own_BM).sum(axis=1) >= NUM_NEIGHBOURS
        similarity_N[rows] = np.where(is_known_B, mean_of_nearest(cosine_BM), np.nan)
    return similarity_N


def _groups_of(
    group_N: NDArray[np.str_], projected_NR: NDArray[np.float32], references: References
) -> NDArray[np.str_]:
    """Return the near-duplicate group of each reference; empty: no row is that reference."""
    references_MR = references.references_NR
    best_M = np.full(len(references_MR), np.inf, np.float32)
    row_M = np.zeros(len(references_MR), np.intp)
    every_M = np.arange(len(references_MR))
    size_M = np.square(references_MR).sum(axis=1)
    for start in range(0, len(projected_NR), _CHUNK):
        own_BR = projected_NR[start : start + _CHUNK]
        distance_BM = np.square(own_BR).sum(axis=1)[:, None] + size_M
        distance_BM -= 2 * own_BR @ references_MR.T
        nearest_M = distance_BM.argmin(axis=0)
        distance_M = distance_BM[nearest_M, every_M]
        is_nearer_M = distance_M < best_M
        best_M[is_nearer_M] = distance_M[is_nearer_M]
        row_M[is_nearer_M] = start + nearest_M[is_nearer_M]
    groups_M: NDArray[np.str_] = np.where(best_M < _SAME, group_N[row_M], "")
    return groups_M
