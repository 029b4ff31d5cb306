"""Measure accuracy against the number of labels: heads fitted on parts of the training rows.

Suffixes: N training rows, M judged rows, R repeats of a point, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.analysis.out_of_fold import OutOfFold, is_many
from training.dataset import Dataset
from training.head.chunks import in_float32
from training.head.head import Integers
from training.head.regression import fit, tolerance_to_judge
from training.recipe import HeadRecipe

#: Shares of the labels, and how often each is drawn: few labels vary more, and cost less.
SHARES = ((0.125, 6), (0.25, 4), (0.5, 3), (1.0, 1))
_SHARES_OF_MANY = ((0.125, 2), (0.25, 2), (0.5, 1), (1.0, 1))
#: Fewer held-out examples say too little, so the training examples judge each other.
MIN_HELD_OUT = 200

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    # Labels that the heads were fitted on, the mean of the repeats.
    num_fitted: float
    # Whether each head judged each row right.
    correct_RM: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Points by rising number of labels, all judged on the same rows."""

    points: tuple[Point, ...]
    # The class of each judged row.
    label_M: Integers
    judged_by: str


def measure(
    training: Dataset,
    held_out: Dataset,
    scored: OutOfFold,
    recipe: HeadRecipe,
    *,
    is_backbone_tuned: bool,
) -> Measured:
    """Fit heads on nested, stratified parts of the training rows. Near-duplicates stay together.

    Held-out rows judge the heads. While these are few, each training row is judged by heads that
    have not seen its fold, unless the backbone was tuned on it and so knows it too well. Each part
    is a part of the next larger one.
    """
    every_N = np.ones(len(training), np.bool_)
    if is_backbone_tuned or len(held_out) >= MIN_HELD_OUT:
        parts = [(every_N, slice(None))]
        judged, judged_by = held_out, "held-out examples"
    else:
        folds = [scored.fold_N == fold for fold in np.unique(scored.fold_N)]
        parts = [(~fold_N, fold_N) for fold_N in folds]
        judged, judged_by = training, "cross-validation"
    points: list[Point] = []
    for share, num_repeats in _SHARES_OF_MANY if is_many(training) else SHARES:
        correct_RM = np.zeros((num_repeats, len(judged)), np.bool_)
        sizes = []
        for repeat in range(num_repeats):
            for seen_N, rows in parts:
                fitted_N = seen_N & (_place(training, seen_N, repeat) < share)
                sizes.append(np.count_nonzero(fitted_N))
                part = judged.part(rows)
                predicted = _predict(training, scored, fitted_N, part, recipe)
                correct_RM[repeat, rows] = predicted == part.y_N
        if points and np.mean(sizes) <= points[-1].num_fitted:
            points.pop()  # of few labels, the smallest parts are the same
        points.append(Point(float(np.mean(sizes)), correct_RM))
    return Measured(tuple(points), judged.y_N, judged_by)


def _place(training: Dataset, seen_N: Bools, seed: int) -> NDArray[np.float64]:
    """Return where each row comes in a random order of the groups of its class, in [0, 1). Rows
    that are not seen come last."""
    rng = np.random.default_rng(seed)
    place_N = np.full(len(training), 2.0)
    for k in range(len(training.classes)):
        own = np.flatnonzero(seen_N & (training.y_N == k))
        _, group_of = np.unique(training.group_N[own], return_inverse=True)
        num_groups = group_of.max(initial=-1) + 1
        order = rng.permutation(num_groups)
        # From 0, so that the smallest part of a small class has one group.
        place_N[own] = order[group_of] / max(num_groups, 1)
    return place_N


def _predict(
    training: Dataset, scored: OutOfFold, fitted_N: Bools, judged: Dataset, recipe: HeadRecipe
) -> Integers:
    num_rows, num_classes = int(np.count_nonzero(fitted_N)), len(training.classes)
    coefficients = fit(
        scored.design,
        training.y_N,
        num_classes,
        l2=scored.penalty.at(num_rows),
        rows=fitted_N,
        sample_weights_N=scored.label_weight_N,
        balance=recipe.class_balance,
        tolerance=tolerance_to_judge(num_rows, num_classes),
    )
    head = scored.design.head(coefficients, training.classes)
    predicted_M: Integers = in_float32(judged.x_ND, head.logits).argmax(axis=1)
    return predicted_M
