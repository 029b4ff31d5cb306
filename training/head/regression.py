"""Multinomial logistic regression on a design matrix: one fit.

It does not own folds or the choice of `l2` (`training/head/crossval.py`).

Suffixes: N rows, B rows of a chunk, R rotated embedding, S = R + 1, whose last row is the
bias, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from training.head.chunks import map_chunks
from training.head.design_matrix import Coefficients, Design, Rows
from training.head.head import ABSENT_BIAS, Floats, Integers
from training.head.preconditioner import step_sizes

_CURVATURE = 0.25
"""K times the mean of p(1 - p) near the optimum. Only the number of iterations depends on it: 12
with 50 classes, where the upper bound of 1/2 would take 30."""


_MIN_TOLERANCE = 1e-5
"""Rows that are easy to separate make gradients small long before the weights stop growing. A less
precise fit then has smaller logits than the published head, whose temperature becomes too low."""

_MAX_TOLERANCE = 3e-3
_LOGITS_AT_MAX_TOLERANCE = 200_000
"""Many rows are rarely separable, so the tolerance may grow with the logits."""

_TOLERANCE_OF_LARGE = 5e-3
"""With 16,000 rows this leaves the loss 0.1 % above its minimum."""


def tolerance_to_judge(num_rows: int, num_classes: int) -> float:
    """Return the tolerance of fits that evaluate out of fold, for challenger and champion alike.

    It grows with the size of the task. A published fit is at least as precise where logits are few.
    """
    num_logits = num_rows * num_classes
    if num_logits >= _LOGITS_AT_MAX_TOLERANCE:
        return _TOLERANCE_OF_LARGE
    return max(_MIN_TOLERANCE, _MAX_TOLERANCE * num_logits / _LOGITS_AT_MAX_TOLERANCE)


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
    tolerance: float = 1e-4,
    should_stop: Callable[[], bool] | None = None,
) -> Coefficients:
    """Minimise the mean weighted cross-entropy + l2/2 ||W||^2 over `rows` (default: all).

    y_N and sample_weights_N (>= 0) cover all rows of the design. The bias is not penalised.
    Classes without rows get `ABSENT_BIAS`, so they are never predicted. `tolerance` bounds the
    largest component of the preconditioned gradient. `should_stop` is called after every
    iteration; when it returns true, the coefficients reached so far are returned.

    Each class has the weight (n / (K n_k))^balance. With 0 a rare class is not predicted, with 1
    three photos weigh as much as three thousand. The square root was best for long tails in Mahajan
    et al. (2018), "Exploring the limits of weakly supervised pretraining".
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
    step_S1 = step_sizes(design.variance_R, _CURVATURE / len(present), l2)
    start_SK = np.zeros((x_NR.shape[1] + 1, len(present)))
    if start is not None:
        start_SK[:-1] = start.weights_RK[:, present]
        start_SK[-1] = _usable_bias(start.bias_K[present])
    optimum = minimize(
        _objective(x_NR, labels_N, weights_N, step_S1, l2),
        (start_SK / step_S1).ravel(),
        method="L-BFGS-B",
        jac=True,
        callback=_stopper(should_stop),
        options={"maxiter": max_iterations, "gtol": tolerance, "ftol": 1e-10, "maxcor": 10},
    )
    best_SK = optimum.x.reshape(start_SK.shape) * step_S1
    weights_RK[:, present], bias_K[present] = best_SK[:-1], best_SK[-1]
    return Coefficients(weights_RK, bias_K, int(optimum.nit))


def _objective(
    x_NR: Floats, y_N: Integers, weights_N: Floats, step_S1: NDArray[np.float64], l2: float
) -> Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]:
    # The two products with x_NR are float32, for speed. Sums over rows and the step are float64.
    exact_N = weights_N.astype(np.float64)

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w_SK = flat.reshape(len(step_S1), -1) * step_S1
        single_SK = w_SK.astype(np.float32)

        def of_chunk(rows: slice) -> tuple[float, Floats, NDArray[np.float64]]:
            x_BR, y_B = x_NR[rows], y_N[rows]
            every_B = np.arange(len(y_B))
            probs_BK = x_BR @ single_SK[:-1]
            probs_BK += single_SK[-1]
            probs_BK -= probs_BK.max(axis=1, keepdims=True)
            own_B = probs_BK[every_B, y_B]
            np.exp(probs_BK, out=probs_BK)
            total_B1 = probs_BK.sum(axis=1, keepdims=True)
            loss = exact_N[rows] @ (np.log(total_B1[:, 0]) - own_B)
            probs_BK *= weights_N[rows, None] / total_B1
            probs_BK[every_B, y_B] -= weights_N[rows]
            return float(loss), x_BR.T @ probs_BK, probs_BK.sum(axis=0, dtype=np.float64)

        chunks = map_chunks(len(y_N), of_chunk)
        loss = sum(of_rows for of_rows, _, _ in chunks) + l2 / 2 * np.square(w_SK[:-1]).sum()
        gradient_SK = np.empty_like(w_SK)
        gradient_SK[:-1] = l2 * w_SK[:-1]
        for _, of_weights_RK, _ in chunks:
            gradient_SK[:-1] += of_weights_RK
        gradient_SK[-1] = sum(of_bias_K for _, _, of_bias_K in chunks)
        return float(loss), (gradient_SK * step_S1).ravel()

    return loss_and_gradient


def _usable_bias(bias_K: Floats) -> Floats:
    """Give a class that was absent in the warm start the bias of the least likely class."""
    known_K = bias_K > ABSENT_BIAS / 2
    return np.where(known_K, bias_K, bias_K[known_K].min() if known_K.any() else 0)


def _stopper(should_stop: Callable[[], bool] | None) -> Callable[[Any], None] | None:
    if should_stop is None:
        return None

    def callback(_: Any) -> None:
        if should_stop():
            raise StopIteration

    return callback
