"""The design matrix of a regression: embeddings scaled and rotated, once for all fits on them.

Suffixes: N rows, D embedding, R rotated embedding (R <= D), K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from training.head.chunks import in_float32, map_chunks
from training.head.head import Floats, Head, Integers, to_unit_rms

Rows = NDArray[np.bool_] | Integers

_FLATTEST_FEATURE = 1e-2
"""A share of the common deviation. A feature that hardly varied in training must not be scaled up a
thousandfold in serving."""

_ROWS_PER_FEATURE = 4
"""This many rows a feature are enough for the covariance."""

_NO_VARIANCE = 1e-10
"""A direction with less than this share of the largest variance is float64 rounding error."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The result of `fit`, in the rotated basis of one `Design`. No other `Design` can use it."""

    weights_RK: Floats
    bias_K: Floats
    num_iterations: int = 0


@dataclass(frozen=True, slots=True)
class Design:
    """Scaled embeddings, rotated to the eigenbasis of their covariance.

    x_NR are the rows, and variance_R is about the diagonal of their E[xx'], which is zero
    elsewhere. basis_DR has orthonormal columns, so the norm of the weights is the same in either
    basis.
    """

    x_NR: Floats
    variance_R: NDArray[np.float64]
    basis_DR: Floats
    mean_D: NDArray[np.float64]
    scale_D: NDArray[np.float64]

    def logits(self, coefficients: Coefficients, rows: Rows | None = None) -> Floats:
        """Return logits_NK of the rows, or of some of them."""
        x_NR = self.x_NR if rows is None else self.x_NR[rows]
        return x_NR @ coefficients.weights_RK + coefficients.bias_K

    def head(
        self, coefficients: Coefficients, classes: tuple[str, ...], temperature: float = 1.0
    ) -> Head:
        """Fold the rotation and the scaling of features into one affine map."""
        weights_DK = self.basis_DR @ coefficients.weights_RK.astype(np.float64)
        weights_DK /= self.scale_D[:, None]
        bias_K = coefficients.bias_K - self.mean_D @ weights_DK
        return Head(classes, weights_DK.astype(np.float32), bias_K.astype(np.float32), temperature)


def prepare(x_ND: NDArray[np.floating[Any]]) -> Design:
    """Scale and rotate embeddings (any float dtype, N >= 1), once for all fits on them.

    Each row is scaled to a root mean square of 1. Each feature is then divided by the square root
    of its deviation, halfway between standardising and leaving it. On two sets of photos and three
    backbones this was as good as the better of the two. Costs min(N, D)^3 and N D min(N, D)
    operations. No label is read, so folds may share one design.
    """
    x_ND = in_float32(x_ND, to_unit_rms)  # a copy, changed in place below
    mean_D = x_ND.mean(axis=0, dtype=np.float64)
    x_ND -= mean_D.astype(np.float32)
    sums = map_chunks(len(x_ND), lambda rows: _sum_of_squares(x_ND[rows]))
    deviation_D = np.sqrt(sum(sums) / len(x_ND))
    common = np.sqrt(np.square(deviation_D).mean())
    floor = _FLATTEST_FEATURE * common
    scale_D = np.ones_like(deviation_D)
    if common > 0:
        scale_D = np.sqrt(np.maximum(deviation_D, floor) * common)
    x_ND *= (1 / scale_D).astype(np.float32)
    num_rows, num_features = x_ND.shape
    if num_rows >= num_features:
        # The basis need only be orthonormal. So float32 and some of the rows are enough: errors
        # make the preconditioner a little worse and change nothing else.
        some_ND = x_ND[:: max(1, num_rows // (_ROWS_PER_FEATURE * num_features))]
        covariance_DD = some_ND.T @ some_ND / np.float32(len(some_ND))
        variance_R, basis_DR = eigh(covariance_DD, driver="evd", check_finite=False)
        variance_R = np.maximum(variance_R, 0).astype(np.float64)

        def rotate(rows: slice) -> None:
            x_ND[rows] = x_ND[rows] @ basis_DR

        map_chunks(num_rows, rotate)
        return Design(x_ND, variance_R, basis_DR, mean_D, scale_D)
    # Fewer rows than features: x = U S V' from the smaller Gram matrix, in float64 because errors
    # would reach V. Directions that no row spans drop out, which makes the fits smaller.
    x64_ND = x_ND.astype(np.float64)
    variance_R, u_NR = np.linalg.eigh(x64_ND @ x64_ND.T / num_rows)
    kept = variance_R > _NO_VARIANCE * max(variance_R[-1], np.finfo(np.float64).tiny)
    variance_R, u_NR = variance_R[kept], u_NR[:, kept]
    singular_R = np.sqrt(variance_R * num_rows)
    basis_DR = (x64_ND.T @ (u_NR / singular_R)).astype(np.float32)
    return Design((u_NR * singular_R).astype(np.float32), variance_R, basis_DR, mean_D, scale_D)


def _sum_of_squares(x_BD: Floats) -> NDArray[np.float64]:
    sum_D: NDArray[np.float64] = np.square(x_BD).sum(axis=0, dtype=np.float64)
    return sum_D
