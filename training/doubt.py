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
from training.head import Design, is_scorable

# A label that was given is doubted when another class is so many times likelier, out of fold.
_DOUBTED_AT = 10.0
# A class that would lose more of its rows than this is not mislabelled but not understood yet.
_MOST_DOUBTED = 1 / 3
_WEAKER = (1.0, 0.2, 0.04)
# They are left out if more labels are then predicted, by so many standard errors.
_CLEARLY = 0.5
# Of fewer it is hard to say which are wrong: with 5 right labels a class doubt cost up to 3 points,
# and with 20, right or not, it did harm as often as good.
_FEWEST_A_CLASS_TO_DOUBT = 40
# Wrong labels do most harm while the embedding has dimensions enough to learn each by heart. On
# photos of flowers, a tenth of them wrong cost 2.3, 1.9 and 1.2 points at 100 labels a class (three
# backbones, six seeds), and 1.0, 1.2 and 0.7 with doubt; at 600 a class 0.8 to 1.9 without, and
# doubt would double the half second that a fit takes there.
_MOST_ROWS_TO_DOUBT = 1_000
_MOST_LOGITS_TO_DOUBT = 10_000


def may_doubt(num_rows: int, num_classes: int) -> bool:
    """Whether there are labels enough to doubt some, and not so many that it would take long."""
    is_affordable = num_rows <= _MOST_ROWS_TO_DOUBT
    is_affordable &= num_rows * num_classes <= _MOST_LOGITS_TO_DOUBT
    return is_affordable and num_rows >= _FEWEST_A_CLASS_TO_DOUBT * num_classes


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
    gain_N = is_right_N.astype(np.float64) - was_right_N
    if gain_N.mean() <= _CLEARLY * gain_N.std() / np.sqrt(len(gain_N)):
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
