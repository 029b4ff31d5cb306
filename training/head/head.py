"""A head: from embeddings to logits and probabilities.

It owns what a head computes. It does not own the fit (`training/head/regression.py`), the
calibration (`training/head/calibration.py`) or the export to ONNX.

Suffixes: N rows, D embedding, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.head.chunks import in_float32

Floats = NDArray[np.float32]
Integers = NDArray[np.integer[Any]]

ABSENT_BIAS = -1e4
"""The logit of a class without training rows: far below any real one, yet finite in float16."""


@dataclass(frozen=True, slots=True)
class Head:
    """An affine map from embeddings of unit root mean square to logits. It includes the scaling and
    the rotation of the fit."""

    classes: tuple[str, ...]
    weights_DK: Floats
    bias_K: Floats
    temperature: float = 1.0

    def logits(self, x_ND: NDArray[np.floating[Any]]) -> Floats:
        """Return logits_NK of raw embeddings, not divided by the temperature."""
        return in_float32(x_ND, lambda x_BD: to_unit_rms(x_BD) @ self.weights_DK + self.bias_K)

    def probabilities(self, x_ND: NDArray[np.floating[Any]]) -> Floats:
        """Return probs_NK, each row summing to 1, after the temperature."""
        probs_NK: Floats = softmax(self.logits(x_ND) / np.float32(self.temperature), axis=1)
        return probs_NK


def to_unit_rms(x_ND: Floats) -> Floats:
    """Scale each row to a root mean square of 1. A row of zeros stays as it is.

    The length of an embedding says more of the photo's contrast than of its class (Wang et al.
    2019, "SimpleShot"). On two sets of photos and three backbones, scaling gained a point with 5
    labels a class and half a point with 20.
    """
    # np.linalg.norm would square a copy.
    length_N1 = np.sqrt(np.einsum("nd,nd->n", x_ND, x_ND))[:, None]
    scaled_ND: Floats = x_ND * (np.float32(np.sqrt(x_ND.shape[1])) / np.maximum(length_N1, 1e-12))
    return scaled_ND


def is_scorable(logits_NK: NDArray[np.floating[Any]], y_N: Integers) -> NDArray[np.bool_]:
    """Return which rows have a true class and a runner-up that the fit has seen.

    The loss of other rows is set by `ABSENT_BIAS` alone and says nothing about the head.
    """
    if logits_NK.shape[1] < 2:
        return np.zeros(len(y_N), np.bool_)
    own_N = logits_NK[np.arange(len(y_N)), y_N]
    second_N = np.partition(logits_NK, -2, axis=1)[:, -2]
    known_N: NDArray[np.bool_] = np.minimum(own_N, second_N) > ABSENT_BIAS / 2
    return known_N
