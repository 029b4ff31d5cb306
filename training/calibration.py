"""What a head's confidence means: temperature, calibration error, and when to abstain.

Suffixes: N rows, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from training.head import Integers, is_scorable

_TEMPERATURES = (0.05, 20.0)


def choose_temperature(
    logits_NK: NDArray[np.floating[Any]], y_N: Integers, *, min_examples: int = 20
) -> float:
    """Return the temperature in [0.05, 20] that minimises the loss of held-out logits.

    Guo et al. (2017), "On calibration of modern neural networks". As in Platt (1999), the labels
    are trusted only to (n + 1) / (n + 2) and the runner-up gets the rest, so that n right answers
    out of n do not read as certainty. Returns 1.0 when fewer than `min_examples` are scorable.
    """
    scorable = is_scorable(logits_NK, y_N)
    num_rows = int(scorable.sum())
    if num_rows < min_examples:
        return 1.0
    z_NK, y_N = logits_NK[scorable].astype(np.float64), y_N[scorable]
    every_N = np.arange(num_rows)
    rivals_NK = z_NK.copy()
    rivals_NK[every_N, y_N] = -np.inf
    doubt = 1 / (num_rows + 2)
    target_N = (1 - doubt) * z_NK[every_N, y_N] + doubt * rivals_NK.max(axis=1)

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        return float((logsumexp(z_NK * inverse, axis=1) - target_N * inverse).mean())

    found = minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded")
    return float(np.clip(np.exp(found.x), *_TEMPERATURES))


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
    """Return the smallest t for which predictions with confidence >= t are precise enough.

    Returns 0.0 when there is no need to abstain, None when no threshold that keeps at least
    `min_examples` reaches `precision`.
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
