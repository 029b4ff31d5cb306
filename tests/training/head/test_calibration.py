"""Temperature, calibration error, and when to abstain. N rows, K classes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from training.head.calibration import (
    abstain_threshold,
    choose_temperature,
    expected_calibration_error,
)
from training.head.head import ABSENT_BIAS, is_scorable


def drawn(num_rows, num_classes=5, scale=2.0, seed=0):
    """Logits, and labels drawn from their softmax: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits_NK = scale * rng.normal(size=(num_rows, num_classes))
    cumulative_NK = softmax(logits_NK, axis=1).cumsum(axis=1)
    y_N = (rng.random((num_rows, 1)) > cumulative_NK[:, :-1]).sum(axis=1)
    return logits_NK.astype(np.float32), y_N


@pytest.mark.parametrize("known", [0.3, 1.0, 4.0])
def test_temperature_recovers_a_known_one(known):
    logits_NK, y_N = drawn(20_000)
    assert choose_temperature(logits_NK * np.float32(known), y_N) == pytest.approx(known, rel=0.05)


def test_temperature_stays_within_bounds_and_needs_examples():
    logits_NK, y_N = drawn(1000)
    assert choose_temperature(logits_NK * np.float32(1000), y_N) == pytest.approx(20, rel=1e-3)
    assert choose_temperature(logits_NK * np.float32(0.001), y_N) == pytest.approx(0.05, rel=1e-3)
    assert choose_temperature(logits_NK[:5], y_N[:5]) == 1.0
    assert choose_temperature(logits_NK[:, :1], np.zeros(1000, np.intp)) == 1.0


def test_temperature_of_few_right_answers_is_not_certainty():
    logits_NK = np.tile(np.array([2.0, 0.0], np.float32), (30, 1))
    temperature = choose_temperature(logits_NK, np.zeros(30, np.intp))
    confidence = softmax(logits_NK[0] / temperature).max()
    assert confidence == pytest.approx(31 / 32, abs=1e-3)


def test_temperature_ignores_rows_whose_class_the_fit_had_not_seen():
    logits_NK, y_N = drawn(2000)
    unseen_NK = logits_NK.copy()
    unseen_NK[:500, 4] = ABSENT_BIAS
    y_N[:500] = 4
    assert is_scorable(unseen_NK, y_N).sum() == 1500
    expected = choose_temperature(logits_NK[500:], y_N[500:])
    assert choose_temperature(unseen_NK, y_N) == expected


def test_calibration_error_tells_calibrated_from_overconfident():
    logits_NK, y_N = drawn(20_000)
    assert expected_calibration_error(softmax(logits_NK, axis=1), y_N) < 0.02
    assert expected_calibration_error(softmax(5 * logits_NK, axis=1), y_N) > 0.1
    assert expected_calibration_error(np.eye(3)[[0, 1, 2]], np.array([1, 2, 0])) == 1.0
    assert expected_calibration_error(np.zeros((0, 3)), np.zeros(0, np.intp)) == 0.0


def test_abstaining_reaches_the_target_precision():
    confidence_N = np.random.default_rng(0).random(5000)
    correct_N = np.random.default_rng(1).random(5000) < confidence_N
    threshold = abstain_threshold(confidence_N, correct_N)
    assert threshold == pytest.approx(0.9, abs=0.05)  # the mean of U(t, 1) is 0.95 at t = 0.9
    assert correct_N[confidence_N >= threshold].mean() >= 0.95


def test_threshold_is_zero_or_none_when_all_or_no_predictions_are_right():
    sure_N = np.full(40, 0.8)
    assert abstain_threshold(sure_N, np.ones(40, np.bool_)) == 0.0
    assert abstain_threshold(sure_N, np.zeros(40, np.bool_)) is None
    assert abstain_threshold(sure_N[:5], np.ones(5, np.bool_)) is None
    assert abstain_threshold(np.zeros(0), np.zeros(0, np.bool_)) is None
    # Equal confidences cannot be parted, though the first thirty were right.
    assert abstain_threshold(sure_N, np.arange(40) < 30) is None
