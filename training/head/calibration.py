"""What a head's confidence means: temperature, calibration error, and when to abstain.

A share of the labels, the noise, may be wrong. A wrong label is each other class with the same
probability. Confidence describes the class, and `label_probability` converts it to the label.

Suffixes: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from training.head.head import Integers, is_scorable

Probs = TypeVar("Probs", float, NDArray[np.float32], NDArray[np.float64])

_TEMPERATURES = (0.05, 20.0)
# More noise cannot be told from a hard task.
_MAX_NOISE = 0.2
_START_NOISE = 0.05


def choose_temperature(
    logits_NK: NDArray[np.floating[Any]],
    y_N: Integers,
    *,
    noise: float = 0.0,
    min_examples: int = 20,
) -> float:
    """Return the temperature in [0.05, 20] that minimises the loss of held-out logits, if the
    share `noise` of their labels is wrong.

    Guo et al. (2017), "On calibration of modern neural networks". As in Platt (1999), a label gets
    (n + 1) / (n + 2) of the target and the runner-up the rest, so that n right of n is not
    certainty. Returns 1.0 when fewer than `min_examples` are scorable.
    """
    scorable_N = is_scorable(logits_NK, y_N)
    if scorable_N.sum() < min_examples:
        return 1.0
    loss = _loss(logits_NK[scorable_N], y_N[scorable_N])
    best = minimize_scalar(lambda x: loss(x, noise), bounds=np.log(_TEMPERATURES), method="bounded")
    return float(np.clip(np.exp(best.x), *_TEMPERATURES))


def estimate_noise(logits_NK: NDArray[np.floating[Any]], y_N: Integers) -> tuple[float, float]:
    """Return the share of wrong labels in [0, 0.2] that explains held-out logits best, together
    with a temperature, and the log-likelihood that it gains over no noise.

    Hard but right labels come with low confidence, wrong labels with any confidence. The likelihood
    is that of Bootkrajang & Kabán (2012), "Label-noise robust logistic regression", with one share
    for all classes.
    """
    scorable_N = is_scorable(logits_NK, y_N)
    if not scorable_N.any():
        return 0.0, 0.0
    loss = _loss(logits_NK[scorable_N], y_N[scorable_N])
    start = (np.log(choose_temperature(logits_NK, y_N, noise=_START_NOISE)), _START_NOISE)
    bounds = [tuple(np.log(_TEMPERATURES)), (0.0, _MAX_NOISE)]
    best = minimize(lambda x: loss(*x), start, bounds=bounds, method="L-BFGS-B")
    without = loss(float(np.log(choose_temperature(logits_NK, y_N))), 0.0)
    return float(best.x[1]), float(scorable_N.sum() * (without - best.fun))


def label_probability(probs: Probs, noise: float, num_classes: int) -> Probs:
    """Convert the probability of a class to that of its label, if the share `noise` is wrong."""
    if noise == 0:
        return probs
    each = noise / (num_classes - 1)
    return probs * (1 - noise - each) + each


def _loss(logits_NK: NDArray[np.floating[Any]], y_N: Integers) -> Callable[[float, float], float]:
    """Return the mean loss as a function of the log temperature and the noise."""
    num_rows, num_classes = logits_NK.shape
    every_N = np.arange(num_rows)
    z_NK = logits_NK.astype(np.float64)
    rivals_NK = z_NK.copy()
    rivals_NK[every_N, y_N] = -np.inf
    own_N, rival_N = z_NK[every_N, y_N], rivals_NK.max(axis=1)
    doubt = 1 / (num_rows + 2)

    def loss(log_temperature: float, noise: float) -> float:
        inverse = np.exp(-log_temperature)
        total_N = logsumexp(z_NK * inverse, axis=1)
        if noise == 0:
            target_N = (1 - doubt) * own_N + doubt * rival_N
            return float((total_N - target_N * inverse).mean())
        log_own_N, log_rival_N = (
            np.log(label_probability(np.exp(of_N * inverse - total_N), noise, num_classes))
            for of_N in (own_N, rival_N)
        )
        return -float(((1 - doubt) * log_own_N + doubt * log_rival_N).mean())

    return loss


def expected_calibration_error(
    probs_NK: NDArray[np.floating[Any]], y_N: Integers, bins: int = 15
) -> float:
    """Return the mean gap in [0, 1] between confidence and accuracy, over equal-width bins.

    Naeini et al. (2015). Returns 0.0 for no rows.
    """
    if len(y_N) == 0:
        return 0.0
    confidence_N = probs_NK.max(axis=1).astype(np.float64)
    surplus_N = confidence_N - (probs_NK.argmax(axis=1) == y_N)
    bin_N = np.minimum((confidence_N * bins).astype(np.intp), bins - 1)
    return float(np.abs(np.bincount(bin_N, surplus_N, minlength=bins)).sum() / len(y_N))


def abstain_threshold(
    confidence_N: NDArray[np.floating[Any]],
    correct_N: NDArray[np.bool_],
    precision: float = 0.95,
    *,
    min_examples: int = 20,
) -> float | None:
    """Return the smallest t for which predictions with confidence >= t reach `precision`.

    Returns 0.0 if all predictions together reach it, and None if no threshold does that keeps at
    least `min_examples`.
    """
    order_N = np.argsort(-confidence_N, kind="stable")
    sorted_N = confidence_N[order_N]
    num_kept_N = np.arange(1, len(order_N) + 1)
    # Equal confidences are kept or dropped together.
    is_cut_N = np.append(sorted_N[1:] < sorted_N[:-1], True)[: len(order_N)]
    reached_N = np.cumsum(correct_N[order_N]) >= precision * num_kept_N
    cuts = np.flatnonzero(is_cut_N & reached_N & (num_kept_N >= min_examples))
    if len(cuts) == 0:
        return None
    return 0.0 if cuts[-1] == len(order_N) - 1 else float(sorted_N[cuts[-1]])
