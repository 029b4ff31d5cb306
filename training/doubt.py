"""Doubt: which labels are probably wrong, and are better left out of a fit.

Suffixes: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.calibration import choose_temperature
from training.crossval import TOLERANCE_TO_JUDGE, choose_l2, out_of_fold
from training.design import Design
from training.head import is_scorable

# A label that was given is doubted when another class is so many times likelier, out of fold.
_DOUBTED_AT = 10.0
# A class that would lose more of its rows than this is not mislabelled but not understood yet.
_MOST_DOUBTED = 1 / 3
_WEAKER = (1.0, 0.2, 0.04)
# Of fewer it is hard to say which are wrong: with 5 right labels a class doubt cost up to 3 points,
# and with 20, right or not, it did harm as often as good.
_FEWEST_A_CLASS_TO_DOUBT = 40
# Of right labels of flowers 2 to 4 in 100 are doubted, since some photos are hard, and leaving
# those out costs half a point; of labels of which a tenth are wrong, 7 in 100 (two backbones).
_MOST_DOUBTED_OF_RIGHT_ONES = 0.045
# Leaving some out takes as long as all the rest of a fit.
_MOST_ROWS_TO_DOUBT = 5_000
_MOST_LOGITS_TO_DOUBT = 50_000


def is_doubtful(logits_NK: NDArray[np.float32], y_N: NDArray[np.intp]) -> bool:
    """Whether some labels are worth leaving out: there are enough of them to tell, not so many that
    it would take long, and more look wrong than among right ones.

    Rows that were not scored out of fold are NaN.
    """
    num_rows, num_classes = logits_NK.shape
    if not _FEWEST_A_CLASS_TO_DOUBT * num_classes <= num_rows <= _MOST_ROWS_TO_DOUBT:
        return False
    if num_rows * num_classes > _MOST_LOGITS_TO_DOUBT:
        return False
    scored_N = ~np.isnan(logits_NK[:, 0])
    if not scored_N.any():
        return False
    trusted_N = _is_trusted(logits_NK[scored_N], y_N[scored_N])
    return float((~trusted_N).mean()) > _MOST_DOUBTED_OF_RIGHT_ONES


def without_doubtful(
    design: Design,
    y_N: NDArray[np.intp],
    fold_N: NDArray[np.intp],
    logits_NK: NDArray[np.float32],
    *,
    l2: float,
    balance: float,
    should_stop: Callable[[], bool] | None,
) -> tuple[NDArray[np.bool_], float, NDArray[np.float32]] | None:
    """Say which rows to trust, the `l2` for those alone, and the logits out of fold that follow;
    None if the labels, doubtful ones included, are not predicted better that way.

    Confident learning (Northcutt et al. 2021): a label is judged by a fit that never saw it. The
    penalty is chosen again, from there on down, since noise had asked for a strong one. Wrong
    labels are as hard to predict for either fit, so they may take part in the comparison.
    """
    num_classes = logits_NK.shape[1]
    trusted_N = _is_trusted(logits_NK, y_N)
    if trusted_N.all():
        return None
    part = replace(design, x_NR=design.x_NR[trusted_N])
    l2 = choose_l2(
        part,
        y_N[trusted_N],
        fold_N[trusted_N],
        num_classes,
        grid=[l2 * step for step in _WEAKER],
        balance=balance,
        should_stop=should_stop,
    )
    better_NK = out_of_fold(
        design,
        y_N,
        fold_N,
        num_classes,
        l2=l2,
        train_mask_N=trusted_N,
        balance=balance,
        tolerance=TOLERANCE_TO_JUDGE,
        should_stop=should_stop,
    )
    was_right_N, is_right_N = logits_NK.argmax(axis=1) == y_N, better_NK.argmax(axis=1) == y_N
    if is_right_N.sum() <= was_right_N.sum():
        return None
    return trusted_N, l2, better_NK


def _is_trusted(logits_NK: NDArray[np.float32], y_N: NDArray[np.intp]) -> NDArray[np.bool_]:
    probs_NK = softmax(logits_NK / choose_temperature(logits_NK, y_N), axis=1)
    own_N = probs_NK[np.arange(len(y_N)), y_N]
    trusted_N = own_N * _DOUBTED_AT > probs_NK.max(axis=1)
    trusted_N |= ~is_scorable(logits_NK, y_N)
    num_K = np.bincount(y_N, minlength=logits_NK.shape[1])
    num_doubted_K = np.bincount(y_N[~trusted_N], minlength=len(num_K))
    is_trusted_N: NDArray[np.bool_] = trusted_N | (num_doubted_K > _MOST_DOUBTED * num_K)[y_N]
    return is_trusted_N
