"""Tier `head`: from a data set to a head, its penalty, temperature and abstain threshold.

Suffixes: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.dataset import Dataset
from training.head.calibration import (
    abstain_threshold,
    choose_temperature,
    expected_calibration_error,
    label_probability,
)
from training.head.crossval import (
    assign_folds,
    choose_l2,
    num_folds_of,
    out_of_fold,
)
from training.head.design_matrix import Design, prepare
from training.head.head import Head
from training.head.label_noise import estimate_label_weights, has_enough_labels, is_noisy
from training.head.regression import fit, tolerance_to_judge
from training.recipe import HeadRecipe

# Above any confidence: no threshold reaches the precision, so every prediction abstains.
ALWAYS_ABSTAIN = 1.01
_MIN_FOR_ABSTAINING = 20
# This many rows determine one temperature and one threshold.
_ENOUGH_TO_CALIBRATE = 400
# The last digits of a large fit take seconds, and are far below its sampling error.
_TOLERANCE, _TOLERANCE_OF_LARGE = 1e-4, 3e-3
_LARGE = 200_000  # logits
# The best penalty scales with the number of rows, so a choice is kept while this changes by less.
_CHOICE_HOLDS = 1.25


@dataclass(frozen=True, slots=True)
class Penalty:
    """A choice of `l2`, and how many training rows it was made on."""

    l2: float
    num_rows: int

    def at(self, num_rows: int) -> float:
        """The penalty is a prior worth a fixed number of rows; the loss is a mean over all rows."""
        return self.l2 * self.num_rows / num_rows

    def holds_for(self, num_rows: int) -> bool:
        return self.num_rows / _CHOICE_HOLDS <= num_rows <= self.num_rows * _CHOICE_HOLDS


@dataclass(frozen=True, slots=True, eq=False)
class FittedHead:
    """A head, and the out-of-fold scores of its training rows."""

    head: Head
    penalty: Penalty
    abstain_below: float | None
    calibration_error: float
    # Of the training rows, to evaluate while held-out examples are few. Rows that were not scored
    # out of fold are NaN. The design takes as much memory as all else: None if it is not needed.
    design: Design | None
    fold_N: NDArray[np.intp]
    out_of_fold_NK: NDArray[np.float32]
    # The weight of each label, from 0 to 1. None: all weigh 1.
    label_weight_N: NDArray[np.float64] | None


def fit_head(
    training: Dataset,
    recipe: HeadRecipe,
    *,
    score_all: bool,
    penalty: Penalty | None = None,
    calibrate_on: Dataset | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FittedHead:
    """Train on every row given, from nothing.

    The head depends on these rows and the penalty alone. So a retracted label leaves no trace, and
    a run can be repeated bit for bit.

    `penalty` is an earlier choice, which is kept while it holds. With `score_all` every row gets
    out-of-fold logits, else enough rows to calibrate. `calibrate_on` are other rows to calibrate
    with. They are needed if the backbone was trained on these rows, whose scores are then too good,
    or if scoring some of so many rows out of fold would take a second.
    """
    y_N, num_classes, num_rows = training.y_N, len(training.classes), len(training)
    large = is_large(training)
    if penalty is not None and not penalty.holds_for(num_rows):
        penalty = None
    design = prepare(training.x_ND)
    num_folds = num_folds_of(training.group_N, y_N, recipe.num_folds)
    fold_N = assign_folds(training.group_N, y_N, num_folds)
    if penalty is None:
        chosen = choose_l2(
            design, y_N, fold_N, num_classes, balance=recipe.class_balance, should_stop=should_stop
        )
        penalty = Penalty(chosen, num_rows)
    l2 = penalty.at(num_rows)
    to_judge = tolerance_to_judge(num_rows, num_classes)

    def scored(folds: Sequence[int] | None) -> NDArray[np.float32]:
        return out_of_fold(
            design,
            y_N,
            fold_N,
            num_classes,
            l2=l2,
            balance=recipe.class_balance,
            folds=folds,
            tolerance=to_judge,
            should_stop=should_stop,
        )

    enough = _enough_folds(fold_N)
    if score_all:
        logits_NK = scored(None)
    elif large and calibrate_on is not None:
        logits_NK = np.full((num_rows, num_classes), np.nan, np.float32)
    else:
        logits_NK = scored(enough)
    label_weight_N: NDArray[np.float64] | None = None
    noise = 0.0
    # The same folds decide this with and without `score_all`.
    in_folds_N = np.isin(fold_N, enough)
    if has_enough_labels(num_rows, num_classes) and is_noisy(
        logits_NK[in_folds_N], y_N[in_folds_N]
    ):
        weights = estimate_label_weights(
            design,
            y_N,
            fold_N,
            logits_NK if score_all else scored(None),
            l2=l2,
            balance=recipe.class_balance,
            should_stop=should_stop,
        )
        label_weight_N, noise, l2 = weights.label_weight_N, weights.noise, weights.l2
        logits_NK = weights.logits_NK
    coefficients = fit(
        design,
        y_N,
        num_classes,
        l2=l2,
        sample_weights_N=label_weight_N,
        balance=recipe.class_balance,
        tolerance=_TOLERANCE_OF_LARGE if large else min(_TOLERANCE, to_judge),
        should_stop=should_stop,
    )
    head = design.head(coefficients, training.classes)
    scored_N = ~np.isnan(logits_NK[:, 0])
    scored_NK, true_N = logits_NK[scored_N], y_N[scored_N]
    if calibrate_on is not None:
        scored_NK, true_N = head.logits(calibrate_on.x_ND), calibrate_on.y_N
    temperature = choose_temperature(scored_NK, true_N, noise=noise)
    # Measured by labels, some of which may be wrong. So probabilities of labels are compared.
    probs_NK = softmax(scored_NK / temperature, axis=1)
    correct_N = probs_NK.argmax(axis=1) == true_N
    precision = label_probability(recipe.target_precision, noise, num_classes)
    label_probs_NK = label_probability(probs_NK, noise, num_classes)
    return FittedHead(
        head=replace(head, temperature=temperature),
        penalty=penalty,
        abstain_below=_abstain_below(probs_NK.max(axis=1), correct_N, precision),
        calibration_error=expected_calibration_error(label_probs_NK, true_N),
        design=design if score_all else None,
        fold_N=fold_N,
        out_of_fold_NK=logits_NK,
        label_weight_N=label_weight_N,
    )


def is_large(training: Dataset) -> bool:
    """Whether a precise fit would take seconds."""
    return len(training) * len(training.classes) >= _LARGE


def _enough_folds(fold_N: NDArray[np.intp]) -> Sequence[int]:
    sizes = np.bincount(fold_N).cumsum()
    return range(min(len(sizes), int(np.searchsorted(sizes, _ENOUGH_TO_CALIBRATE)) + 1))


def _abstain_below(
    confidence_N: NDArray[np.floating[Any]], correct_N: NDArray[np.bool_], precision: float
) -> float | None:
    if len(correct_N) < _MIN_FOR_ABSTAINING:
        return None
    threshold = abstain_threshold(confidence_N, correct_N, precision)
    return ALWAYS_ABSTAIN if threshold is None else threshold
