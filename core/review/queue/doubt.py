"""Which images teach most: by clusters of their embeddings while there are hardly any labels, and
then by clusters of the most doubtful ones.

The margin alone would show many images of one kind, and misses kinds that no label names yet.
`python -m bench.queue` measures what that saves.

N images, D embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from core.class_names import NONE_OF_THESE
from core.labelling import labels
from core.models.servable import Servable
from core.review.k_means import far_apart, k_means, nearest_to_centres

# Below so many labelled examples a class, on average, the margin says little. On photos of flowers,
# 8 saved no more of the labels than 4.
FEW_OF_CLASS = 4
# The most doubtful ones, so many times as many as are shown.
TIMES_SHOWN = 10
# Clusters are found in so many random directions, which takes a tenth of the time.
_DIRECTIONS = 128
_NUM_ROUNDS = 5

Floats = NDArray[np.float32]


def has_few_labels(conn: Connection, champion: Servable) -> bool:
    """Whether margins say little yet: the champion is pretrained, or has learned from few."""
    if champion.manifest.run_id is None:
        return True
    sizes: dict[str, int] = {}
    for label, _, number in labels.count_current(conn):
        if label != NONE_OF_THESE:
            sizes[label] = sizes.get(label, 0) + number
    return is_few(sum(sizes.values()), len(sizes))


def is_few(num_labels: int, num_classes: int) -> bool:
    return num_labels < FEW_OF_CLASS * max(1, num_classes)


def doubtful_first(
    x_ND: Floats, margin_N: Floats, limit: int, *, has_few_labels: bool
) -> list[tuple[int, int]]:
    """Order images: the `limit` that teach most together, and then the others by margin.

    Returns their rows, each with the number of images that it stands for; 0: it was not chosen.
    """
    by_margin = np.argsort(margin_N, kind="stable")
    if len(by_margin) <= limit:
        return [(row, 0) for row in by_margin.tolist()]
    rows = np.sort(by_margin) if has_few_labels else by_margin[: TIMES_SHOWN * limit]
    rng = np.random.default_rng(0)
    some_ND = _projected(x_ND, rng)[rows]
    start_K = far_apart(some_ND, limit, rng)
    centre_KD, cluster_N = k_means(some_ND, limit, rng, start_K=start_K, num_rounds=_NUM_ROUNDS)
    chosen = nearest_to_centres(some_ND, centre_KD, cluster_N)
    size_K = np.bincount(cluster_N, minlength=limit)[cluster_N[chosen]]
    order = np.argsort(-size_K if has_few_labels else margin_N[rows[chosen]], kind="stable")
    first = list(zip(rows[chosen[order]].tolist(), size_K[order].tolist(), strict=True))
    is_chosen = {row for row, _ in first}
    return first + [(row, 0) for row in by_margin.tolist() if row not in is_chosen]


def _projected(x_ND: Floats, rng: np.random.Generator) -> Floats:
    """Keep distances about as they are (Johnson and Lindenstrauss 1984)."""
    size = x_ND.shape[1]
    if size <= _DIRECTIONS:
        return x_ND
    directions = rng.standard_normal((size, _DIRECTIONS), np.float32)
    projected_NR: Floats = x_ND @ directions / np.float32(np.sqrt(_DIRECTIONS))
    return projected_NR
