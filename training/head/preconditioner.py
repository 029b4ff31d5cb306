"""Preconditioners: other coordinates for the weights of a fit, in which its loss is nearly round.

The Hessian's block of a class is E[xx'], each row weighted by p(1 - p) (Böhning 1992), plus the
penalty. In coordinates in which that is about the identity L-BFGS needs few iterations, however
ill-conditioned the embeddings are.

Suffixes: R embedding as it is fitted, S = R + 1, whose last row is the bias, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

Doubles = NDArray[np.float64]


class Preconditioner(Protocol):
    def weights(self, u_SK: Doubles) -> Doubles:
        """Those at the coordinates u."""

    def coordinates(self, weights_SK: Doubles) -> Doubles:
        """The inverse of `weights`."""

    def gradient(self, by_weights_SK: Doubles) -> Doubles:
        """By the coordinates, of what has this gradient by the weights."""


@dataclass(frozen=True, slots=True)
class Diagonal:
    """For rows in the eigenbasis of their covariance."""

    step_S1: Doubles

    def weights(self, u_SK: Doubles) -> Doubles:
        return u_SK * self.step_S1

    def coordinates(self, weights_SK: Doubles) -> Doubles:
        return weights_SK / self.step_S1

    def gradient(self, by_weights_SK: Doubles) -> Doubles:
        return by_weights_SK * self.step_S1


@dataclass(frozen=True, slots=True)
class Triangular:
    """For rows in any basis: by the root L of the Hessian's block, LL'. It costs a tenth of an
    eigenbasis, and each iteration two triangular products more."""

    root_RR: Doubles
    step_of_bias: float

    def weights(self, u_SK: Doubles) -> Doubles:
        return np.vstack([self._solved(u_SK[:-1], "T"), u_SK[-1:] * self.step_of_bias])

    def coordinates(self, weights_SK: Doubles) -> Doubles:
        return np.vstack([self.root_RR.T @ weights_SK[:-1], weights_SK[-1:] / self.step_of_bias])

    def gradient(self, by_weights_SK: Doubles) -> Doubles:
        bias_1K = by_weights_SK[-1:] * self.step_of_bias
        return np.vstack([self._solved(by_weights_SK[:-1], "N"), bias_1K])

    def _solved(self, right_RK: Doubles, trans: str) -> Doubles:
        found_RK: Doubles = solve_triangular(
            self.root_RR, right_RK, lower=True, trans=trans, check_finite=False
        )
        return found_RK


def preconditioner(
    covariance: NDArray[np.floating[Any]], curvature: float, l2: float
) -> Preconditioner:
    """`covariance`, E[xx'], is [R, R], or its diagonal [R] where all else is zero; `curvature` is
    p(1 - p), and `l2` > 0 the penalty, which the bias does not have."""
    step_of_bias = curvature**-0.5
    if covariance.ndim == 1:
        step_R = 1 / np.sqrt(curvature * covariance + l2)
        return Diagonal(np.append(step_R, step_of_bias)[:, None])
    hessian_RR = curvature * covariance.astype(np.float64)
    hessian_RR[np.diag_indices_from(hessian_RR)] += l2
    root_RR = cholesky(hessian_RR, lower=True, overwrite_a=True, check_finite=False)
    return Triangular(root_RR, step_of_bias)
