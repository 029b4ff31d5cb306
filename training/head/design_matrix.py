"""The design of a regression: embeddings scaled and rotated, once for all fits on them.

Suffixes: N rows, D embedding, R rotated embedding (R <= D), K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from training.head.chunks import in_parts
from training.head.head import Floats, Head, Integers, of_unit_rms

Rows = NDArray[np.bool_] | Integers

_FLATTEST_FEATURE = 1e-2
"""A feature that hardly moved in training must not be magnified a thousandfold in serving."""

_ENOUGH_ROWS = 4
"""So many times the features, for a covariance."""

_NO_VARIANCE = 1e-10
"""A direction with less than this share of the largest variance is float64 round-off."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What `fit` found, in the rotated basis of one `Design`: meaningless with another."""

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
        """Return logits_NK of the prepared rows, or of some of them."""
        x_NR = self.x_NR if rows is None else self.x_NR[rows]
        return x_NR @ coefficients.weights_RK + coefficients.bias_K

    def head(
        self, coefficients: Coefficients, classes: tuple[str, ...], temperature: float = 1.0
    ) -> Head:
        """Fold rotation and the scaling of features into one affine map."""
        weights_DK = self.basis_DR @ coefficients.weights_RK.astype(np.float64)
        weights_DK /= self.scale_D[:, None]
        bias_K = coefficients.bias_K - self.mean_D @ weights_DK
        return Head(classes, weights_DK.astype(np.float32), bias_K.astype(np.float32), temperature)


def prepare(x_ND: NDArray[np.floating[Any]]) -> Design:
    """Scale and rotate embeddings (any float dtype, N >= 1), once for all fits on them.

    Each row to a root mean square of 1; then each feature by half, in the logarithm, of what would
    standardise it: on photos of two sets and three backbones that was as good as the better of
    standardising and leaving as it is. Costs min(N, D)^3 and N D min(N, D). No label is read, so
    folds may share one design.
    """
    x_ND = of_unit_rms(np.asarray(x_ND, np.float32))  # a copy, and from here on changed in place
    mean_D = x_ND.mean(axis=0, dtype=np.float64)
    x_ND -= mean_D.astype(np.float32)
    parts = in_parts(len(x_ND), lambda rows: _squares(x_ND[rows]))
    deviation_D = np.sqrt(sum(parts) / len(x_ND))
    common = np.sqrt(np.square(deviation_D).mean())
    floor = _FLATTEST_FEATURE * common
    scale_D = np.ones_like(deviation_D)
    if common > 0:
        scale_D = np.sqrt(np.maximum(deviation_D, floor) * common)
    x_ND *= (1 / scale_D).astype(np.float32)
    num_rows, num_features = x_ND.shape
    if num_rows >= num_features:
        # The basis need only be orthonormal, so a float32 Gram matrix will do, and one of some
        # rows: its errors make the preconditioner a little worse and change nothing else.
        some_ND = x_ND[:: max(1, num_rows // (_ENOUGH_ROWS * num_features))]
        covariance_DD = some_ND.T @ some_ND / np.float32(len(some_ND))
        variance_R, basis_DR = eigh(covariance_DD, driver="evd", check_finite=False)
        variance_R = np.maximum(variance_R, 0).astype(np.float64)

        def rotate_part(rows: slice) -> None:
            x_ND[rows] = x_ND[rows] @ basis_DR

        in_parts(num_rows, rotate_part)
        return Design(x_ND, variance_R, basis_DR, mean_D, scale_D)
    # Fewer rows than features: x = U S V' through the smaller side. Here errors would reach V,
    # hence float64; the directions that no row spans drop out, and the fits get smaller too.
    x64_ND = x_ND.astype(np.float64)
    variance_R, u_NR = np.linalg.eigh(x64_ND @ x64_ND.T / num_rows)
    kept = variance_R > _NO_VARIANCE * max(variance_R[-1], np.finfo(np.float64).tiny)
    variance_R, u_NR = variance_R[kept], u_NR[:, kept]
    singular_R = np.sqrt(variance_R * num_rows)
    basis_DR = (x64_ND.T @ (u_NR / singular_R)).astype(np.float32)
    return Design((u_NR * singular_R).astype(np.float32), variance_R, basis_DR, mean_D, scale_D)


def _squares(x_BD: Floats) -> NDArray[np.float64]:
    """The sum of squares of each column."""
    sum_D: NDArray[np.float64] = np.square(x_BD).sum(axis=0, dtype=np.float64)
    return sum_D
