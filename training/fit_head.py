"""Tier `head`: from a data set to a head, its regularisation, temperature and abstain threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.crossval import assign_folds, choose_l2
from training.dataset import Dataset
from training.head import (
    Design,
    Head,
    abstain_threshold,
    choose_temperature,
    expected_calibration_error,
    fit,
    prepare,
)
from training.recipe import HeadRecipe

# Above any confidence: no threshold reaches the precision yet, so a person should always look.
ALWAYS_ABSTAIN = 1.01
_MIN_FOR_ABSTAINING = 20


@dataclass(frozen=True, slots=True, eq=False)
class FittedHead:
    """A head with what the out-of-fold scores of its training rows said of it."""

    head: Head
    l2: float
    abstain_below: float | None
    calibration_error: float
    # Of the training rows (N), for judging while held-out examples are few.
    design: Design
    fold_N: NDArray[np.intp]
    out_of_fold_NK: NDArray[np.float32]


def fit_head(
    training: Dataset,
    recipe: HeadRecipe,
    start: Head | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FittedHead:
    """Train on every row given. `start`: an earlier head over the same embeddings, for speed."""
    num_classes = len(training.classes)
    design = prepare(training.x_ND)
    fold_N = assign_folds(training.group_N, training.y_N, recipe.num_folds)
    l2, logits_NK = choose_l2(
        design,
        training.y_N,
        fold_N,
        num_classes,
        balance=recipe.balance,
        should_stop=should_stop,
    )
    coefficients = fit(
        design,
        training.y_N,
        num_classes,
        l2=l2,
        balance=recipe.balance,
        start=design.start(start, training.classes) if start is not None else None,
        should_stop=should_stop,
    )
    temperature = choose_temperature(logits_NK, training.y_N)
    probs_NK = softmax(logits_NK / temperature, axis=1)
    correct_N = probs_NK.argmax(axis=1) == training.y_N
    return FittedHead(
        head=design.head(coefficients, training.classes, temperature),
        l2=l2,
        abstain_below=_abstain_below(probs_NK.max(axis=1), correct_N, recipe.target_precision),
        calibration_error=expected_calibration_error(probs_NK, training.y_N),
        design=design,
        fold_N=fold_N,
        out_of_fold_NK=logits_NK,
    )


def _abstain_below(
    confidence_N: NDArray[np.float32], correct_N: NDArray[np.bool_], precision: float
) -> float | None:
    if len(correct_N) < _MIN_FOR_ABSTAINING:
        return None  # too few to tell
    threshold = abstain_threshold(confidence_N, correct_N, precision)
    return ALWAYS_ABSTAIN if threshold is None else threshold
