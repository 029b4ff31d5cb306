"""k-means, and where it starts."""

from __future__ import annotations

import numpy as np

from core.review.k_means import far_apart, k_means, nearest_to_centres

BLOBS = np.array([[0, 0], [100, 0], [0, 100]], np.float32)


def test_start_far_apart_finds_small_clusters_too() -> None:
    sizes = (500, 3, 2)
    rng = np.random.default_rng(0)
    noise_NR = rng.standard_normal((sum(sizes), 2)).astype(np.float32)
    x_NR = np.repeat(BLOBS, sizes, axis=0) + noise_NR
    _, cluster_N = k_means(x_NR, 3, rng, start_K=far_apart(x_NR, 3, rng))
    assert sorted(np.bincount(cluster_N).tolist()) == sorted(sizes)


def test_rows_that_are_all_the_same_have_a_start() -> None:
    x_NR = np.ones((6, 4), np.float32)
    rng = np.random.default_rng(0)
    rows = far_apart(x_NR, 5, rng)
    centre_KR, cluster_N = k_means(x_NR, 5, rng, start_K=rows)
    assert len(nearest_to_centres(x_NR, centre_KR, cluster_N)) == 1


def test_nearest_row_stands_for_its_cluster() -> None:
    x_NR = np.array([[0, 0], [3, 0], [1, 0], [50, 0]], np.float32)
    cluster_N = np.array([0, 0, 0, 1])
    centre_KR = np.array([[1.2, 0], [50, 0]], np.float32)
    assert nearest_to_centres(x_NR, centre_KR, cluster_N).tolist() == [2, 3]
