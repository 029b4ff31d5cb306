"""The head tier: multinomial logistic regression on cached embeddings.

It owns preparing the embeddings, one fit, and the affine map that a fit becomes. It does not own
folds or the choice of `l2` (`training/crossval.py`), what its confidence means
(`training/calibration.py`), nor the export to ONNX, and it never touches torch.

Suffixes: N rows, D embedding, R rotated embedding (R <= D), K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

Floats = NDArray[np.float32]
Integers = NDArray[np.integer[Any]]
Rows = NDArray[np.bool_] | Integers

ABSENT_BIAS = -1e4
"""The logit of a class without training rows: far below any real one, yet finite in float16."""

_FLATTEST_FEATURE = 1e-2
"""A feature that hardly moved in training must not be magnified a thousandfold in serving."""

_NO_VARIANCE = 1e-10
"""A direction with less than this share of the largest variance is float64 round-off."""


@dataclass(frozen=True, slots=True)
class Head:
    """One affine map from raw embeddings to logits: the scaling is already folded in."""

    classes: tuple[str, ...]
    weights_DK: Floats
    bias_K: Floats
    temperature: float = 1.0

    def logits(self, x_ND: NDArray[np.floating[Any]]) -> Floats:
        """Return logits_NK, not divided by the temperature."""
        return np.asarray(x_ND, np.float32) @ self.weights_DK + self.bias_K

    def probabilities(self, x_ND: NDArray[np.floating[Any]]) -> Floats:
        """Return probs_NK, each row summing to 1, after the temperature."""
        probs_NK: Floats = softmax(self.logits(x_ND) / np.float32(self.temperature), axis=1)
        return probs_NK


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What `fit` found, in the rotated basis of one `Design`: meaningless with another."""

    weights_RK: Floats
    bias_K: Floats
    num_iterations: int = 0


@dataclass(frozen=True, slots=True)
class Design:
    """Scaled embeddings, rotated to the eigenbasis of their covariance.

    x_NR are the rotated rows and variance_R their mean squares; basis_DR has orthonormal columns,
    so the norm of the weights is the same in either basis.
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
        """Fold rotation and scaling into one affine map on raw embeddings."""
        weights_DK = self.basis_DR @ coefficients.weights_RK.astype(np.float64)
        weights_DK /= self.scale_D[:, None]
        bias_K = coefficients.bias_K - self.mean_D @ weights_DK
        return Head(classes, weights_DK.astype(np.float32), bias_K.astype(np.float32), temperature)


def prepare(x_ND: NDArray[np.floating[Any]]) -> Design:
    """Scale and rotate embeddings (any float dtype, N >= 1), once for all fits on them.

    Scaled by half, in the logarithm, of what would standardise each feature: on photos of two sets
    and three backbones that was as good as the better of standardising and leaving as it is.
    Costs min(N, D)^3 and N D min(N, D). No label is read, so folds may share one design.
    """
    x_ND = np.asarray(x_ND, np.float32)
    mean_D = x_ND.mean(axis=0, dtype=np.float64)
    x_ND = x_ND - mean_D.astype(np.float32)
    deviation_D = np.sqrt(np.square(x_ND).mean(axis=0, dtype=np.float64))
    common = np.sqrt(np.square(deviation_D).mean())
    floor = _FLATTEST_FEATURE * common
    scale_D = np.ones_like(deviation_D)
    if common > 0:
        scale_D = np.sqrt(np.maximum(deviation_D, floor) * common)
    x_ND *= (1 / scale_D).astype(np.float32)
    num_rows, num_features = x_ND.shape
    if num_rows >= num_features:
        # The basis need only be orthonormal, so a float32 Gram matrix will do: its errors
        # make the preconditioner a little worse and change nothing else.
        variance_R, basis_DR = np.linalg.eigh(x_ND.T @ x_ND / np.float32(num_rows))
        variance_R = np.maximum(variance_R, 0).astype(np.float64)
        return Design(x_ND @ basis_DR, variance_R, basis_DR, mean_D, scale_D)
    # Fewer rows than features: x = U S V' through the smaller side. Here errors would reach V,
    # hence float64; the directions that no row spans drop out, and the fits get smaller too.
    x64_ND = x_ND.astype(np.float64)
    variance_R, u_NR = np.linalg.eigh(x64_ND @ x64_ND.T / num_rows)
    kept = variance_R > _NO_VARIANCE * max(variance_R[-1], np.finfo(np.float64).tiny)
    variance_R, u_NR = variance_R[kept], u_NR[:, kept]
    singular_R = np.sqrt(variance_R * num_rows)
    basis_DR = (x64_ND.T @ (u_NR / singular_R)).astype(np.float32)
    return Design((u_NR * singular_R).astype(np.float32), variance_R, basis_DR, mean_D, scale_D)


def fit(
    design: Design,
    y_N: Integers,
    num_classes: int,
    *,
    l2: float,
    rows: Rows | None = None,
    sample_weights_N: NDArray[np.floating[Any]] | None = None,
    balance: float = 0.5,
    start: Coefficients | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-5,
    should_stop: Callable[[], bool] | None = None,
) -> Coefficients:
    """Minimise the mean weighted cross-entropy + l2/2 ||W||^2 over `rows` (default: all).

    y_N and sample_weights_N (>= 0) cover all rows of the design. The bias is not penalised.
    Classes without rows get `ABSENT_BIAS`, so they are never predicted. `tolerance` bounds the
    largest component of the preconditioned gradient. When `should_stop` (asked after every
    iteration) says so, the coefficients reached so far are returned.

    Each class weighs (n / (K n_k))^balance: 0 leaves a rare class unpredicted, 1 lets three
    photos weigh as much as three thousand. The square root between them is what Mahajan et al.
    (2018, "Exploring the limits of weakly supervised pretraining") found best for long tails.
    """
    x_NR = design.x_NR if rows is None else design.x_NR[rows]
    labels_N = y_N if rows is None else y_N[rows]
    weights_N = np.ones(len(y_N)) if sample_weights_N is None else sample_weights_N
    weights_N = weights_N.astype(np.float64)[slice(None) if rows is None else rows]
    mass_K = np.bincount(labels_N, weights_N, minlength=num_classes)
    present = np.flatnonzero(mass_K > 0)
    weights_RK = np.zeros((x_NR.shape[1], num_classes), np.float32)
    bias_K = np.full(num_classes, ABSENT_BIAS, np.float32)
    if len(present) < 2:
        bias_K[present] = 0
        return Coefficients(weights_RK, bias_K)
    if len(present) < num_classes:
        index_K = np.zeros(num_classes, np.intp)
        index_K[present] = np.arange(len(present))
        used = mass_K[labels_N] > 0
        x_NR, weights_N, labels_N = x_NR[used], weights_N[used], index_K[labels_N[used]]
    share_K = mass_K[present] / mass_K.sum()
    weights_N = weights_N * (share_K**-balance)[labels_N]
    weights_N = (weights_N / weights_N.sum()).astype(np.float32)
    # Böhning (1992): the Hessian is at most 1/2 (I - 11'/K) (x) X'X/n. In the eigenbasis of X'X
    # that bound is diagonal, so dividing by its root leaves L-BFGS a nearly round bowl, however
    # ill-conditioned the embeddings are. The last row is the bias.
    step_R1 = np.append(1 / np.sqrt(design.variance_R / 2 + l2), np.sqrt(2))[:, None]
    start_RK = np.zeros((len(step_R1), len(present)))
    if start is not None:
        start_RK[:-1] = start.weights_RK[:, present]
        start_RK[-1] = _usable_bias(start.bias_K[present])
    found = minimize(
        _objective(x_NR, labels_N, weights_N, step_R1, l2),
        (start_RK / step_R1).ravel(),
        method="L-BFGS-B",
        jac=True,
        callback=_stopper(should_stop),
        options={"maxiter": max_iterations, "gtol": tolerance, "ftol": 1e-10, "maxcor": 10},
    )
    best_RK = found.x.reshape(start_RK.shape) * step_R1
    weights_RK[:, present], bias_K[present] = best_RK[:-1], best_RK[-1]
    return Coefficients(weights_RK, bias_K, int(found.nit))


def _objective(
    x_NR: Floats, y_N: Integers, weights_N: Floats, step_R1: NDArray[np.float64], l2: float
) -> Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]:
    # The two products with x_NR are float32, for speed; sums over rows and the step are float64.
    every_N = np.arange(len(y_N))
    weights_N1 = weights_N[:, None]
    exact_N = weights_N.astype(np.float64)

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        preconditioned_RK = flat.reshape(len(step_R1), -1)
        w_RK = preconditioned_RK * step_R1
        probs_NK = x_NR @ w_RK[:-1].astype(np.float32)
        probs_NK += w_RK[-1].astype(np.float32)
        probs_NK -= probs_NK.max(axis=1, keepdims=True)
        own_N = probs_NK[every_N, y_N]
        np.exp(probs_NK, out=probs_NK)
        total_N1 = probs_NK.sum(axis=1, keepdims=True)
        nll_N = np.log(total_N1[:, 0]) - own_N
        loss = exact_N @ nll_N + l2 / 2 * np.square(w_RK[:-1]).sum()
        probs_NK *= weights_N1 / total_N1
        probs_NK[every_N, y_N] -= weights_N
        gradient_RK = np.empty_like(w_RK)
        gradient_RK[:-1] = x_NR.T @ probs_NK + l2 * w_RK[:-1]
        gradient_RK[-1] = probs_NK.sum(axis=0, dtype=np.float64)
        return float(loss), (gradient_RK * step_R1).ravel()

    return loss_and_gradient


def _usable_bias(bias_K: Floats) -> Floats:
    """A class that was absent where the warm start was found begins as unlikely as the rarest."""
    known_K = bias_K > ABSENT_BIAS / 2
    return np.where(known_K, bias_K, bias_K[known_K].min() if known_K.any() else 0)


def _stopper(should_stop: Callable[[], bool] | None) -> Callable[[Any], None] | None:
    if should_stop is None:
        return None

    def callback(_: Any) -> None:
        if should_stop():
            raise StopIteration

    return callback


def is_scorable(logits_NK: NDArray[np.floating[Any]], y_N: Integers) -> NDArray[np.bool_]:
    """Say which rows have a true class and a rival that the fit behind their logits had seen.

    Any other row's loss is set by `ABSENT_BIAS` alone and says nothing about the head.
    """
    if logits_NK.shape[1] < 2:
        return np.zeros(len(y_N), np.bool_)
    own_N = logits_NK[np.arange(len(y_N)), y_N]
    second_N = np.partition(logits_NK, -2, axis=1)[:, -2]
    known_N: NDArray[np.bool_] = np.minimum(own_N, second_N) > ABSENT_BIAS / 2
    return known_N
