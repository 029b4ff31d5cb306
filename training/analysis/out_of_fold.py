"""Score each training row by a fit that has not seen it.

A label that such a fit finds improbable is probably wrong (Northcutt et al. 2021, "Confident
learning").

Suffixes: N rows, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.dataset import Dataset
from training.head.calibration import choose_temperature
from training.head.crossval import assign_folds, choose_l2, num_folds_of, out_of_fold
from training.head.design_matrix import Design, prepare
from training.head.fit import Penalty
from training.head.label_noise import estimate_label_weights, has_enough_labels, is_noisy
from training.head.regression import tolerance_to_judge
from training.recipe import HeadRecipe

# Above this many logits a fit takes a second, and three folds score as well as five.
_MANY_LOGITS = 400_000
_NUM_FOLDS_OF_MANY = 3


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    design: Design
    fold_N: NDArray[np.intp]
    penalty: Penalty
    # The weight of each label, from 0 to 1. None: all weigh 1.
    label_weight_N: NDArray[np.float64] | None
    # Each row sums to 1. By the fits that have not seen the row, at the best temperature.
    probs_NK: NDArray[np.float32]


def is_many(training: Dataset) -> bool:
    """Whether one fit takes a second or so."""
    return len(training) * len(training.classes) > _MANY_LOGITS


def score_out_of_fold(
    training: Dataset, recipe: HeadRecipe, penalty: Penalty | None = None
) -> OutOfFold:
    """Score the rows as a run does to judge a head. `penalty` is that of the version."""
    y_N, num_rows, num_classes = training.y_N, len(training), len(training.classes)
    most = recipe.num_folds
    if is_many(training):
        most = min(most, _NUM_FOLDS_OF_MANY)
    design = prepare(training.x_ND)
    fold_N = assign_folds(training.group_N, y_N, num_folds_of(training.group_N, y_N, most))
    if penalty is None or not penalty.holds_for(num_rows):
        l2 = choose_l2(design, y_N, fold_N, num_classes, balance=recipe.class_balance)
        penalty = Penalty(l2, num_rows)
    l2 = penalty.at(num_rows)
    logits_NK = out_of_fold(
        design,
        y_N,
        fold_N,
        num_classes,
        l2=l2,
        balance=recipe.class_balance,
        tolerance=tolerance_to_judge(num_rows, num_classes),
    )
    label_weight_N, noise = None, 0.0
    if has_enough_labels(num_rows, num_classes) and is_noisy(logits_NK, y_N):
        weights = estimate_label_weights(
            design,
            y_N,
            fold_N,
            logits_NK,
            l2=l2,
            balance=recipe.class_balance,
            should_stop=None,
        )
        label_weight_N, noise, logits_NK = weights.label_weight_N, weights.noise, weights.logits_NK
        penalty = Penalty(weights.l2, num_rows)
    temperature = np.float32(choose_temperature(logits_NK, y_N, noise=noise))
    probs_NK = softmax(logits_NK / temperature, axis=1)
    return OutOfFold(design, fold_N, penalty, label_weight_N, probs_NK)
