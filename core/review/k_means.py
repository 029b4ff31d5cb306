"""k-means: to choose a few rows that stand for many.

N rows, R numbers of a row, K clusters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# For hundreds of clusters, more of them change the outcome little.
NUM_ROUNDS = 2

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]


def k_means(
    x_NR: Floats,
    num_clusters: int,
    rng: np.random.Generator,
    *,
    start_K: Rows | None = None,
    num_rounds: int = NUM_ROUNDS,
) -> tuple[Floats, Rows]:
    """Return the centres and the cluster of each row. There are at least as many rows.

    The first centres are the rows `start_K`, or drawn evenly.
    """
    if start_K is None:
        start_K = rng.choice(len(x_NR), num_clusters, replace=False)
    centre_KR = x_NR[start_K]
    for _ in range(num_rounds):
        cluster_N = _nearest(x_NR, centre_KR)
        size_K = np.bincount(cluster_N, minlength=num_clusters)
        starts_K = np.cumsum(size_K) - size_K
        full_K = size_K > 0
        in_order_NR = x_NR[np.argsort(cluster_N, kind="stable")]
        sum_KR = np.add.reduceat(in_order_NR, starts_K[full_K])
        centre_KR[full_K] = sum_KR / size_K[full_K, None]
    return centre_KR, _nearest(x_NR, centre_KR)


def far_apart(x_NR: Floats, num_clusters: int, rng: np.random.Generator) -> Rows:
    """Draw rows that are probably far from each other, to start from (Arthur and Vassilvitskii
    2007, "k-means++"). It takes longer than all else, and small clusters are found too."""
    rows = np.empty(num_clusters, np.intp)
    distance_N = np.ones(len(x_NR))
    square_N = np.square(x_NR).sum(axis=1)
    for k in range(num_clusters):
        total_N = distance_N.cumsum()
        # All rows may be the same.
        drawn = np.searchsorted(total_N, rng.random() * total_N[-1], side="right")
        rows[k] = min(int(drawn), len(x_NR) - 1)
        to_row_N = square_N + square_N[rows[k]] - 2 * (x_NR @ x_NR[rows[k]])
        distance_N = np.maximum(np.minimum(distance_N, to_row_N) if k else to_row_N, 0)
    return rows


def nearest_to_centres(x_NR: Floats, centre_KR: Floats, cluster_N: Rows) -> Rows:
    """Return the row that is nearest to the centre of each cluster with rows, by cluster."""
    distance_N = np.square(x_NR - centre_KR[cluster_N]).sum(axis=1)
    nearest_first = np.lexsort((distance_N, cluster_N))
    _, first = np.unique(cluster_N[nearest_first], return_index=True)
    chosen: Rows = nearest_first[first]
    return chosen


def _nearest(x_NR: Floats, centre_KR: Floats) -> Rows:
    half_K = np.square(centre_KR).sum(axis=1) / 2
    nearest_N: Rows = (x_NR @ centre_KR.T - half_K).argmax(axis=1)
    return nearest_N
