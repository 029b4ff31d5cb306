"""Made-up embeddings of a few photos a class. Suffixes: N rows, D embedding, K classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.dataset import Dataset

NUM_CLASSES = 5
SIZE = 600


def photos(
    num_per_class: int, num_unseen: int, seed: int, separation: float = 0.2
) -> tuple[Dataset, NDArray[np.float32], NDArray[np.intp]]:
    """Return a data set to train on, and unseen embeddings with their classes.

    Classes are Gaussian, and their covariance has the spectrum 1/k, as that of photos.
    """
    rng = np.random.default_rng(seed)
    n = num_per_class * NUM_CLASSES
    y_N = np.concatenate([np.arange(n), np.arange(num_unseen)]) % NUM_CLASSES
    spread_D = np.sqrt(1 / np.arange(1, SIZE + 1))
    centre_KD = separation * spread_D * rng.normal(size=(NUM_CLASSES, SIZE))
    x_ND = centre_KD[y_N] + spread_D * rng.normal(size=(len(y_N), SIZE))
    x_ND = x_ND.astype(np.float32)
    return labelled(x_ND[:n], y_N[:n], num_trained=n), x_ND[n:], y_N[n:]


def labelled(x_ND: NDArray[np.float32], y_N: NDArray[np.intp], num_trained: int) -> Dataset:
    ids_N = np.arange(len(y_N))
    classes = tuple(f"class {k}" for k in range(int(y_N.max()) + 1))
    groups_N = np.array([f"{i:06}" for i in ids_N])
    return Dataset(classes, x_ND, y_N, groups_N, ids_N, num_trained)
