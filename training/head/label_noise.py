"""Belief: how far each label is trusted in a fit, where some are wrong.

Suffixes: N rows, M rows of some folds, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.head.calibration import choose_noise, choose_temperature, of_labels
from training.head.crossval import TOLERANCE_TO_JUDGE, choose_l2, num_that_choose, out_of_fold
from training.head.design_matrix import Design
from training.head.head import is_scorable

# Of fewer it is hard to say how many are wrong. With 5 right labels a class of photos a third of
# the draws found some, and confidence was a hundredth worse; with 20 a class one in ten did.
_FEWEST_ROWS = 100
_FEWEST_A_CLASS = 20
# Of right labels on photos, none to 1 in 100 look wrong on average over draws, and of some 200 now
# and then more than these; of labels of which a tenth are wrong, 9 to 11 (three backbones).
_MOST_NOISE_OF_RIGHT_ONES = 0.03
# Nats of likelihood. Where nothing can be learnt from the rows, any noise explains them as well.
_AT_ALL = 0.5
# Where right labels of a hard task look wrong, weights cost no accuracy, but confidence would
# promise too much: with 4 to 16 random directions of ants and bees by 2 to 4 points.
_CLEARLY = 3.0
# A class that is believed less than this on average is not mislabelled but not understood yet.
_LEAST_OF_A_CLASS = 2 / 3
# Wrong labels had asked for a strong penalty; once they weigh little, a weaker one will do.
_WEAKER = (1.0, 0.5, 0.25, 0.125)
# Weighing labels takes as long as half of all the rest of a fit.
_MOST_ROWS = 5_000
_MOST_LOGITS = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """How far to believe each label, from 0 to 1, and what follows: the `l2` for rows that weigh so
    much, and the logits out of fold of fits on them."""

    belief_N: NDArray[np.float64]
    # The share of wrong labels, for what confidence says; 0 where it may be that the task is hard.
    noise: float
    l2: float
    logits_NK: NDArray[np.float32]


def can_weigh(num_rows: int, num_classes: int) -> bool:
    """Whether there are enough labels to tell, and not so many that it would take long."""
    if num_classes < 2 or num_rows * num_classes > _MOST_LOGITS:
        return False
    return max(_FEWEST_ROWS, _FEWEST_A_CLASS * num_classes) <= num_rows <= _MOST_ROWS


def is_noisy(logits_MK: NDArray[np.float32], y_M: NDArray[np.intp]) -> bool:
    """Whether more labels look wrong than among right ones, by logits out of fold."""
    noise, gain = choose_noise(logits_MK, y_M)
    return noise > _MOST_NOISE_OF_RIGHT_ONES and gain > _AT_ALL


def weigh(
    design: Design,
    y_N: NDArray[np.intp],
    fold_N: NDArray[np.intp],
    logits_NK: NDArray[np.float32],
    *,
    l2: float,
    balance: float,
    should_stop: Callable[[], bool] | None,
) -> Weighed:
    """Judge each label by a fit that never saw it, whose logits and `l2` these are.

    A fit that weighs each row by how probably its label is right climbs the likelihood of labels
    with noise (Bootkrajang & Kabán 2012; one step of their EM). Judged by fits that had seen it, in
    hundreds of features, a wrong label would be believed: hence out of fold, as in confident
    learning (Northcutt et al. 2021).
    """
    num_classes = logits_NK.shape[1]
    noise, gain = choose_noise(logits_NK, y_N)
    belief_N = believe(logits_NK, y_N, noise)
    # A mean over fewer rows chooses, beside which the prior must weigh as much.
    strongest = l2 * len(y_N) / num_that_choose(len(y_N), num_classes)
    l2 = choose_l2(
        design,
        y_N,
        fold_N,
        num_classes,
        grid=[strongest * step for step in _WEAKER],
        sample_weights_N=belief_N,
        noise=noise,
        balance=balance,
        should_stop=should_stop,
    )
    better_NK = out_of_fold(
        design,
        y_N,
        fold_N,
        num_classes,
        l2=l2,
        sample_weights_N=belief_N,
        balance=balance,
        tolerance=TOLERANCE_TO_JUDGE,
        should_stop=should_stop,
    )
    return Weighed(belief_N, noise if gain > _CLEARLY else 0.0, l2, better_NK)


def believe(
    logits_NK: NDArray[np.float32], y_N: NDArray[np.intp], noise: float
) -> NDArray[np.float64]:
    """Return belief_N, the probability that each label is right, when the share `noise` is not.

    Rows that no fit can judge, and classes that none understands yet, are believed.
    """
    if noise == 0:
        return np.ones(len(y_N))
    num_classes = logits_NK.shape[1]
    temperature = choose_temperature(logits_NK, y_N, noise=noise)
    probs_NK = softmax(logits_NK.astype(np.float64) / temperature, axis=1)
    own_N = probs_NK[np.arange(len(y_N)), y_N]
    belief_N: NDArray[np.float64] = (1 - noise) * own_N / of_labels(own_N, noise, num_classes)
    belief_N[~is_scorable(logits_NK, y_N)] = 1.0
    num_K = np.bincount(y_N, minlength=num_classes)
    mean_K = np.bincount(y_N, belief_N, minlength=num_classes) / np.maximum(num_K, 1)
    belief_N[(mean_K < _LEAST_OF_A_CLASS)[y_N]] = 1.0
    return belief_N
