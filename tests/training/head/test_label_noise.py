"""Label noise: its share, the weights of labels, and the calibration after it.

N rows, D embedding, K classes.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from training.dataset import Dataset
from training.head.calibration import choose_temperature, estimate_noise, expected_calibration_error
from training.head.crossval import assign_folds, out_of_fold
from training.head.design_matrix import prepare
from training.head.fit import FittedHead, fit_head
from training.head.head import ABSENT_BIAS
from training.head.label_noise import estimate_label_weights, has_enough_labels, posterior_correct
from training.recipe import HeadRecipe

pytestmark = pytest.mark.slow  # not in `make check`

CLASSES = tuple("abcd")
SAMPLING = 0.015  # of a share among thousands of rows
TENTH = 0.1


def scored(num_rows: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Logits, and labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits_NK = 4 * rng.normal(size=(num_rows, len(CLASSES)))
    cumulative_NK = softmax(logits_NK, axis=1).cumsum(axis=1)
    y_N = (rng.random((num_rows, 1)) > cumulative_NK[:, :-1]).sum(axis=1)
    return logits_NK.astype(np.float32), y_N


def photos(num_rows: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Clusters that overlap a little, in as many dimensions as a small network has."""
    rng = np.random.default_rng(seed)
    y_N = np.arange(num_rows) % len(CLASSES)
    centre_KD = np.random.default_rng(99).normal(size=(len(CLASSES), 96))
    x_ND = 0.55 * centre_KD[y_N] + rng.normal(size=(num_rows, 96)) * np.linspace(2, 0.5, 96)
    return x_ND.astype(np.float32), y_N


def flipped(y_N: NDArray[np.intp], share: float = TENTH, seed: int = 0) -> NDArray[np.intp]:
    rng = np.random.default_rng(seed)
    at = rng.permutation(len(y_N))[: round(share * len(y_N))]
    y_N = y_N.copy()
    y_N[at] = (y_N[at] + rng.integers(1, len(CLASSES), len(at))) % len(CLASSES)
    return y_N


def learn(
    x_ND: NDArray[np.float32], y_N: NDArray[np.intp], *, score_all: bool = False
) -> FittedHead:
    group_N = np.arange(len(y_N)).astype(str)
    dataset = Dataset(CLASSES, x_ND, y_N, group_N, np.arange(len(y_N)), len(y_N))
    with threadpool_limits(1):
        return fit_head(dataset, HeadRecipe(), score_all=score_all)


@pytest.mark.parametrize("share", [0.0, 0.05, TENTH])
@pytest.mark.parametrize("sharper", [0.5, 1.0, 5.0])
def test_share_of_wrong_labels_is_estimated_at_any_temperature(
    share: float, sharper: float
) -> None:
    logits_NK, y_N = scored(6_000)
    noise, gain = estimate_noise(logits_NK * np.float32(sharper), flipped(y_N, share))
    assert noise == pytest.approx(share, abs=SAMPLING)
    assert (gain > 100) == (share > 0)


def test_hard_rows_with_right_labels_are_not_noise() -> None:
    logits_NK, y_N = scored(6_000)
    hard_NK = logits_NK / 4
    rng = np.random.default_rng(1)
    cumulative_NK = softmax(hard_NK, axis=1).cumsum(axis=1)
    y_N = (rng.random((len(y_N), 1)) > cumulative_NK[:, :-1]).sum(axis=1)
    assert (hard_NK.argmax(axis=1) == y_N).mean() < 0.6
    assert estimate_noise(hard_NK, y_N)[1] < 3


def test_noise_is_zero_where_no_row_is_scorable() -> None:
    assert estimate_noise(np.zeros((0, 4), np.float32), np.zeros(0, np.intp)) == (0.0, 0.0)
    absent_NK = np.full((50, 4), ABSENT_BIAS, np.float32)
    assert estimate_noise(absent_NK, np.zeros(50, np.intp)) == (0.0, 0.0)


def test_temperature_with_noise_fits_the_classes_and_not_the_labels() -> None:
    logits_NK, y_N = scored(6_000)
    noisy_N = flipped(y_N)
    assert choose_temperature(logits_NK, noisy_N, noise=TENTH) == pytest.approx(1, rel=0.1)
    assert choose_temperature(logits_NK, noisy_N) > 1.5


def test_label_weight_is_the_share_of_labels_that_are_right() -> None:
    logits_NK, y_N = scored(20_000)
    noisy_N = flipped(y_N)
    label_weight_N = posterior_correct(logits_NK, noisy_N, TENTH)
    is_right_N = noisy_N == y_N
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        among_N = (low <= label_weight_N) & (label_weight_N < high)
        assert among_N.sum() > 50, "weights cover the whole range"
        assert is_right_N[among_N].mean() == pytest.approx(label_weight_N[among_N].mean(), abs=0.08)


def test_label_weight_is_one_for_classes_not_learnt_and_rows_not_scorable() -> None:
    logits_NK, y_N = scored(2_000)
    y_N[:20] = 3
    y_N[20:][y_N[20:] == 3] = 0
    logits_NK[:, 3] = logits_NK.min() - 5
    assert (posterior_correct(logits_NK, y_N, TENTH)[:20] == 1).all()
    logits_NK[:, 3] = ABSENT_BIAS
    assert (posterior_correct(logits_NK, y_N, TENTH)[:20] == 1).all()


def test_label_weight_is_one_without_noise() -> None:
    logits_NK, y_N = scored(200)
    far_NK = 1_000 * logits_NK  # some labels have a probability of 0 in any float
    assert (posterior_correct(far_NK, y_N, 0.0) == 1).all()


def test_weighting_needs_enough_labels_and_not_too_many() -> None:
    assert not has_enough_labels(99, 4)
    assert has_enough_labels(100, 4)
    assert not has_enough_labels(100, 6), "too few of a class"
    assert not has_enough_labels(5_001, 4), "weighting takes too long"
    assert not has_enough_labels(4_000, 50)
    assert not has_enough_labels(500, 1)


def test_right_labels_are_not_weighted() -> None:
    fitted = learn(*photos(600))
    assert fitted.label_weight_N is None


def test_wrong_labels_get_small_weights_and_cost_little() -> None:
    x_ND, y_N = photos(600)
    judge_x_ND, judge_y_N = photos(2_000, seed=1)
    noisy_N = flipped(y_N)
    fitted, right = learn(x_ND, noisy_N), learn(x_ND, y_N)
    assert fitted.label_weight_N is not None
    assert (
        fitted.label_weight_N[noisy_N != y_N].mean()
        < 0.4
        < 0.9
        < fitted.label_weight_N[noisy_N == y_N].mean()
    )

    def share(found: FittedHead) -> float:
        return float((found.head.logits(judge_x_ND).argmax(axis=1) == judge_y_N).mean())

    assert share(right) > 0.9
    assert share(right) - share(fitted) < 0.015


def test_confidence_is_calibrated_after_wrong_labels() -> None:
    x_ND, y_N = photos(600)
    judge_x_ND, judge_y_N = photos(2_000, seed=1)
    fitted = learn(x_ND, flipped(y_N))
    said_NK = fitted.head.probabilities(judge_x_ND)
    assert expected_calibration_error(said_NK, judge_y_N) < 0.05
    assert fitted.calibration_error < 0.06
    assert fitted.abstain_below is not None
    sure_N = said_NK.max(axis=1) >= fitted.abstain_below
    assert sure_N.mean() > 0.5, "without weighting, every prediction abstains"
    assert (said_NK.argmax(axis=1) == judge_y_N)[sure_N].mean() >= HeadRecipe().target_precision


def test_weighted_head_is_the_same_with_and_without_scoring_all() -> None:
    x_ND, y_N = photos(600)
    noisy_N = flipped(y_N)
    first, again, other = (
        learn(x_ND, noisy_N, score_all=score_all) for score_all in (False, False, True)
    )
    for found in (again, other):
        assert found.head.weights_DK.tobytes() == first.head.weights_DK.tobytes()
        assert found.head.temperature == first.head.temperature


def test_corrected_label_leaves_no_trace() -> None:
    x_ND, y_N = photos(400)
    before = learn(x_ND, y_N).head
    learn(x_ND, flipped(y_N))
    assert learn(x_ND, y_N).head.weights_DK.tobytes() == before.weights_DK.tobytes()


def test_weighting_can_be_stopped() -> None:
    x_ND, y_N = photos(400)
    noisy_N = flipped(y_N)
    design, fold_N = prepare(x_ND), assign_folds(np.arange(len(y_N)), noisy_N, 5)
    logits_NK = out_of_fold(design, noisy_N, fold_N, 4, l2=0.1)
    asked = []

    def stopped() -> bool:
        asked.append(True)
        return True

    with threadpool_limits(1):
        estimate_label_weights(
            design, noisy_N, fold_N, logits_NK, l2=0.1, balance=0.5, should_stop=stopped
        )
    fits = 4 * 5 + 5  # every penalty and fold, and the folds again
    assert 0 < len(asked) <= fits, "each fit ends at its first iteration"
