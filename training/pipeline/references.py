"""Choose the references of a version, and the similarity below which an image is unfamiliar.

Up to 1,024 examples, all are references. Beyond that, k-means chooses, because each reference costs
time in every prediction. Held-out examples are never references.

Suffixes: N rows, M rows that the threshold is measured on, D embedding, R directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.models.references import (
    NUM_NEIGHBOURS,
    Floats,
    References,
    mean_of_nearest,
    project,
)
from core.review.k_means import NUM_ROUNDS, Rows, k_means, nearest_to_centres
from training.dataset import Dataset
from training.head.chunks import in_float32

MAX_CHOSEN = 1_024
"""More of them cost time, and find no more. Half a megabyte stays in the cache of a core."""

_MAX_DIRECTIONS = 128
_SHARE_BELOW = 0.05
# With fewer values, the quantile is one outlier.
_MIN_MEASURED = 20
_MAX_SAMPLED = 1_000


def choose_references(dataset: Dataset, *, is_backbone_tuned: bool) -> References | None:
    """Return None if there are too few examples.

    The threshold is the 5 % quantile of the references' own similarities, each to the references
    of other near-duplicate groups. A backbone that was tuned on the references holds them too
    close together, so held-out examples set the threshold then.
    """
    training = dataset.training
    judges = dataset.held_out if is_backbone_tuned else training
    if is_backbone_tuned and len(judges) < _MIN_MEASURED:
        return None
    basis_DR = _rounded(_principal_directions(training.x_ND))
    projected_NR = in_float32(training.x_ND, lambda x_BD: project(x_BD, basis_DR))
    chosen_N = choose_rows(projected_NR, MAX_CHOSEN)
    group_N = training.group_N[chosen_N]
    _, sizes = np.unique(group_N, return_counts=True)
    if len(chosen_N) - sizes.max() < NUM_NEIGHBOURS:
        return None
    references_NR = _rounded(projected_NR[chosen_N])
    measured_M = _sample(len(judges))
    cosine_MN = project(judges.x_ND[measured_M].astype(np.float32), basis_DR) @ references_NR.T
    cosine_MN[judges.group_N[measured_M][:, None] == group_N] = -np.inf
    threshold = np.float32(np.quantile(mean_of_nearest(cosine_MN), _SHARE_BELOW))
    return References(basis_DR, references_NR, float(threshold))


def choose_rows(x_NR: Floats, most: int) -> Rows:
    """Return all rows, or about `most` of them: the one nearest to the centre of each cluster.

    Clusters are found in two levels, which takes a tenth of a second for 20,000 rows.
    """
    if len(x_NR) <= most:
        return np.arange(len(x_NR))
    rng = np.random.default_rng(0)
    _, cluster_N = k_means(x_NR, int(np.sqrt(most)), rng)
    chosen = []
    for k in np.unique(cluster_N):
        rows = np.flatnonzero(cluster_N == k)
        own_NR = x_NR[rows]
        parts = k_means(own_NR, max(1, len(rows) * most // len(x_NR)), rng)
        chosen.append(rows[nearest_to_centres(own_NR, *parts)])
    return np.sort(np.concatenate(chosen))[:most]


def _principal_directions(x_ND: NDArray[np.floating[Any]]) -> Floats:
    """Return orthonormal columns that hold most of the rows' directions [D, R].

    Not centred, so that cosines stay as they are. A randomised range finder (Halko et al. 2011)
    takes a tenth of the time of eigenvectors.
    """
    some_ND = x_ND[_sample(len(x_ND))].astype(np.float32)
    some_ND = some_ND / np.maximum(np.linalg.norm(some_ND, axis=1, keepdims=True), 1e-12)
    num_rows, size = some_ND.shape
    if num_rows <= _MAX_DIRECTIONS:
        return np.asarray(np.linalg.qr(some_ND.T)[0])
    num_directions = min(_MAX_DIRECTIONS, size)
    basis_DR = np.random.default_rng(0).standard_normal((size, num_directions), np.float32)
    for _ in range(NUM_ROUNDS):
        basis_DR, _ = np.linalg.qr(some_ND.T @ (some_ND @ basis_DR))
    return basis_DR


def _sample(num_rows: int) -> Rows:
    """Return evenly spaced rows, or all of few."""
    return np.linspace(0, num_rows - 1, min(num_rows, _MAX_SAMPLED)).astype(np.intp)


def _rounded(numbers: Floats) -> Floats:
    """Round as the file does, so that the threshold fits what is served."""
    return numbers.astype(np.float16).astype(np.float32)
