"""Tier `head`: from a data set to a head, its regularisation, temperature and abstain threshold.

Suffixes: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.calibration import (
    abstain_threshold,
    choose_temperature,
    expected_calibration_error,
)
from training.crossval import assign_folds, choose_l2, out_of_fold
from training.dataset import Dataset
from training.head import Design, Head, fit, is_scorable, prepare
from training.recipe import HeadRecipe

# Above any confidence: no threshold reaches the precision yet, so a person should always look.
ALWAYS_ABSTAIN = 1.01
_MIN_FOR_ABSTAINING = 20
# One temperature and one threshold are settled by so many rows.
_ENOUGH_TO_CALIBRATE = 400
# The best penalty follows the number of rows so closely that a choice holds while they grow so far.
_CHOICE_HOLDS = 1.25
_ROUGHLY = 1e-3
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


@dataclass(frozen=True, slots=True)
class Penalty:
    """A choice of `l2`, and how many training rows it was made on."""

    l2: float
    num_rows: int

    def at(self, num_rows: int) -> float:
        """A prior is worth a fixed number of rows, whereas the loss is a mean over all of them."""
        return self.l2 * self.num_rows / num_rows

    def holds_for(self, num_rows: int) -> bool:
        return self.num_rows / _CHOICE_HOLDS <= num_rows <= self.num_rows * _CHOICE_HOLDS


@dataclass(frozen=True, slots=True, eq=False)
class FittedHead:
    """A head, with what the out-of-fold scores of its training rows said of it."""

    head: Head
    penalty: Penalty
    abstain_below: float | None
    calibration_error: float
    # Of the training rows, for judging while held-out examples are few. Rows that were not scored
    # out of fold are NaN.
    design: Design
    fold_N: NDArray[np.intp]
    out_of_fold_NK: NDArray[np.float32]


def fit_head(
    training: Dataset,
    recipe: HeadRecipe,
    *,
    score_all: bool,
    penalty: Penalty | None = None,
    calibrate_on: Dataset | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FittedHead:
    """Train on every row given, from nothing: the head depends on these rows and the penalty alone,
    so a label that was taken back leaves no trace, and a run can be repeated to the bit.

    `penalty` is an earlier choice, used again while it holds. With `score_all` every row gets
    out-of-fold logits, else enough of them to calibrate. `calibrate_on` are rows to calibrate with
    instead, for a backbone that was trained on these rows: it knows them better than any others.
    """
    y_N, num_classes, num_rows = training.y_N, len(training.classes), len(training)
    design = prepare(training.x_ND)
    fold_N = assign_folds(training.group_N, y_N, recipe.num_folds)
    if penalty is None or not penalty.holds_for(num_rows):
        chosen = choose_l2(
            design, y_N, fold_N, num_classes, balance=recipe.balance, should_stop=should_stop
        )
        penalty = Penalty(chosen, num_rows)
    l2 = penalty.at(num_rows)
    doubts = _may_doubt(num_rows, num_classes)
    logits_NK = out_of_fold(
        design,
        y_N,
        fold_N,
        num_classes,
        l2=l2,
        balance=recipe.balance,
        folds=None if score_all or doubts else _enough_folds(fold_N),
        tolerance=_ROUGHLY,
        should_stop=should_stop,
    )
    trusted_N: NDArray[np.bool_] | None = None
    if doubts:
        better = _without_doubtful(
            design,
            y_N,
            fold_N,
            logits_NK,
            l2=l2,
            balance=recipe.balance,
            should_stop=should_stop,
        )
        if better is not None:
            trusted_N, l2, logits_NK = better
    coefficients = fit(
        design,
        y_N,
        num_classes,
        l2=l2,
        rows=trusted_N,
        balance=recipe.balance,
        should_stop=should_stop,
    )
    head = design.head(coefficients, training.classes)
    scored_N = ~np.isnan(logits_NK[:, 0])
    scored_NK, true_N = logits_NK[scored_N], y_N[scored_N]
    if calibrate_on is not None:
        scored_NK, true_N = head.logits(calibrate_on.x_ND), calibrate_on.y_N
    temperature = choose_temperature(scored_NK, true_N)
    probs_NK = softmax(scored_NK / temperature, axis=1)
    correct_N = probs_NK.argmax(axis=1) == true_N
    return FittedHead(
        head=replace(head, temperature=temperature),
        penalty=penalty,
        abstain_below=_abstain_below(probs_NK.max(axis=1), correct_N, recipe.target_precision),
        calibration_error=expected_calibration_error(probs_NK, true_N),
        design=design,
        fold_N=fold_N,
        out_of_fold_NK=logits_NK,
    )


def _may_doubt(num_rows: int, num_classes: int) -> bool:
    is_affordable = num_rows <= _MOST_ROWS_TO_DOUBT
    is_affordable &= num_rows * num_classes <= _MOST_LOGITS_TO_DOUBT
    return is_affordable and num_rows >= _FEWEST_A_CLASS_TO_DOUBT * num_classes


def _without_doubtful(
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
        tolerance=_ROUGHLY,
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


def _enough_folds(fold_N: NDArray[np.intp]) -> Sequence[int]:
    sizes = np.bincount(fold_N).cumsum()
    return range(min(len(sizes), int(np.searchsorted(sizes, _ENOUGH_TO_CALIBRATE)) + 1))


def _abstain_below(
    confidence_N: NDArray[np.float32], correct_N: NDArray[np.bool_], precision: float
) -> float | None:
    if len(correct_N) < _MIN_FOR_ABSTAINING:
        return None  # too few to tell
    threshold = abstain_threshold(confidence_N, correct_N, precision)
    return ALWAYS_ABSTAIN if threshold is None else threshold
