"""Label-noise weighting: how probably each label is right, where some are wrong.

Suffixes: N rows, M rows of some folds, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.head.calibration import choose_temperature, estimate_noise, label_probability
from training.head.crossval import choose_l2, num_rows_to_choose, out_of_fold
from training.head.design_matrix import Design
from training.head.head import is_scorable
from training.head.regression import tolerance_to_judge

# With fewer labels, the share of wrong ones is uncertain. With 5 right labels a class of photos, a
# third of the draws found wrong ones, and the calibration error grew by 0.01. With 20 a class, one
# draw in ten found some.
_MIN_ROWS = 100
_MIN_ROWS_OF_CLASS = 20
# Of right labels on photos, 0 to 1 % look wrong on average, and at times more than 3 % of some 200.
# Of labels of which a tenth are wrong, 9 to 11 % look wrong (three backbones).
_MAX_NOISE_OF_RIGHT_LABELS = 0.03
# In nats of likelihood. Where nothing can be learnt from the rows, any noise explains them as well.
_MIN_GAIN_TO_WEIGHT = 0.5
# Where right labels of a hard task look wrong, weights cost no accuracy, but confidence would be
# too high: by 2 to 4 points with 4 to 16 random directions of ants and bees.
_MIN_GAIN_TO_CALIBRATE = 3.0
# A class whose labels have a lower mean weight is not mislabelled but not learnt yet.
_MIN_MEAN_WEIGHT_OF_CLASS = 2 / 3
# Wrong labels make cross-validation choose a strong penalty. With small weights, a weaker one fits.
_PENALTY_FACTORS = (1.0, 0.5, 0.25, 0.125)
# Weighting takes half as long as all the rest of a fit.
_MAX_ROWS = 5_000
_MAX_LOGITS = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class LabelWeights:
    """The weight of each label, from 0 to 1, and the `l2` and out-of-fold logits of fits with these
    weights."""

    label_weight_N: NDArray[np.float64]
    # The share of wrong labels, for calibration. It is 0 where the task may just be hard.
    noise: float
    l2: float
    logits_NK: NDArray[np.float32]


def has_enough_labels(num_rows: int, num_classes: int) -> bool:
    """Whether there are enough labels to estimate weights, and not so many that it takes long."""
    if num_classes < 2 or num_rows * num_classes > _MAX_LOGITS:
        return False
    return max(_MIN_ROWS, _MIN_ROWS_OF_CLASS * num_classes) <= num_rows <= _MAX_ROWS


def is_noisy(logits_MK: NDArray[np.float32], y_M: NDArray[np.intp]) -> bool:
    """Whether more labels look wrong than among right ones, by out-of-fold logits."""
    noise, gain = estimate_noise(logits_MK, y_M)
    return noise > _MAX_NOISE_OF_RIGHT_LABELS and gain > _MIN_GAIN_TO_WEIGHT


def estimate_label_weights(
    design: Design,
    y_N: NDArray[np.intp],
    fold_N: NDArray[np.intp],
    logits_NK: NDArray[np.float32],
    *,
    l2: float,
    balance: float,
    should_stop: Callable[[], bool] | None,
) -> LabelWeights:
    """Weight each label by its probability of being right. `logits_NK` are out of fold, at `l2`.

    A fit with these weights raises the likelihood under label noise (Bootkrajang & Kabán 2012, one
    step of their EM). The probabilities come from fits that have not seen the label, as in
    confident learning (Northcutt et al. 2021). With hundreds of features, a fit that has seen a
    wrong label agrees with it.
    """
    num_classes = logits_NK.shape[1]
    noise, gain = estimate_noise(logits_NK, y_N)
    label_weight_N = posterior_correct(logits_NK, y_N, noise)
    # `choose_l2` samples rows. The loss is a mean over fewer rows then, so the penalty is larger.
    strongest = l2 * len(y_N) / num_rows_to_choose(len(y_N), num_classes)
    l2 = choose_l2(
        design,
        y_N,
        fold_N,
        num_classes,
        grid=[strongest * factor for factor in _PENALTY_FACTORS],
        sample_weights_N=label_weight_N,
        noise=noise,
        balance=balance,
        should_stop=should_stop,
    )
    weighted_NK = out_of_fold(
        design,
        y_N,
        fold_N,
        num_classes,
        l2=l2,
        sample_weights_N=label_weight_N,
        balance=balance,
        tolerance=tolerance_to_judge(len(y_N), num_classes),
        should_stop=should_stop,
    )
    noise_to_calibrate = noise if gain > _MIN_GAIN_TO_CALIBRATE else 0.0
    return LabelWeights(label_weight_N, noise_to_calibrate, l2, weighted_NK)


def posterior_correct(
    logits_NK: NDArray[np.float32], y_N: NDArray[np.intp], noise: float
) -> NDArray[np.float64]:
    """Return label_weight_N, the probability that each label is right if the share `noise` is not.

    Rows that no fit can score, and the rows of classes that no fit has learnt yet, get 1.
    """
    if noise == 0:
        return np.ones(len(y_N))
    num_classes = logits_NK.shape[1]
    temperature = choose_temperature(logits_NK, y_N, noise=noise)
    probs_NK = softmax(logits_NK.astype(np.float64) / temperature, axis=1)
    own_N = probs_NK[np.arange(len(y_N)), y_N]
    label_weight_N: NDArray[np.float64] = (
        (1 - noise) * own_N / label_probability(own_N, noise, num_classes)
    )
    label_weight_N[~is_scorable(logits_NK, y_N)] = 1.0
    num_K = np.bincount(y_N, minlength=num_classes)
    mean_K = np.bincount(y_N, label_weight_N, minlength=num_classes) / np.maximum(num_K, 1)
    label_weight_N[(mean_K < _MIN_MEAN_WEIGHT_OF_CLASS)[y_N]] = 1.0
    return label_weight_N
