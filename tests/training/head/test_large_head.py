"""A head of many rows, which is fitted less precisely."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from training.dataset import Dataset
from training.head import fit as fitting
from training.head.fit import Penalty, fit_head
from training.recipe import HeadRecipe

# Trains for real, again and again: not in `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits() -> Dataset:
    x_ND, y_N = load_digits(return_X_y=True)
    ids_N = np.arange(len(y_N))
    names = tuple(str(k) for k in range(10))
    return Dataset(names, x_ND.astype(np.float32), y_N, ids_N.astype(str), ids_N, len(y_N))


def head_of(
    digits: Dataset, *, score_all: bool = False, penalty: Penalty | None = None
) -> fitting.Head:
    with threadpool_limits(1):
        return fit_head(digits, HeadRecipe(), score_all=score_all, penalty=penalty).head


def test_large_fit_predicts_as_an_exact_one(digits, monkeypatch) -> None:
    exact = head_of(digits)
    monkeypatch.setattr(fitting, "_LARGE", 1)
    large = head_of(digits)
    assert not np.array_equal(large.weights_DK, exact.weights_DK), "it was fitted as precisely"
    same_N = large.logits(digits.x_ND).argmax(1) == exact.logits(digits.x_ND).argmax(1)
    assert same_N.mean() > 0.995


def test_large_fit_is_calibrated_on_other_rows_if_given(digits, monkeypatch) -> None:
    is_other_N = np.arange(len(digits)) % 4 == 0
    rows, others = digits.part(~is_other_N), digits.part(is_other_N)
    monkeypatch.setattr(fitting, "_LARGE", 1)
    with threadpool_limits(1):
        by_others = fit_head(rows, HeadRecipe(), score_all=False, calibrate_on=others)
        by_itself = fit_head(rows, HeadRecipe(), score_all=False)
        both = fit_head(rows, HeadRecipe(), score_all=True, calibrate_on=others)
    assert np.isnan(by_others.out_of_fold_NK).all(), "that takes as long as the fit"
    assert not np.isnan(both.out_of_fold_NK).any(), "the gate asked for them"
    for fitted in (by_itself, both):
        assert fitted.head.weights_DK.tobytes() == by_others.head.weights_DK.tobytes()
    assert both.head.temperature == by_others.head.temperature != by_itself.head.temperature
    said_NK = by_others.head.probabilities(others.x_ND)
    right = float((said_NK.argmax(axis=1) == others.y_N).mean())
    assert abs(float(said_NK.max(axis=1).mean()) - right) < 0.02
    assert by_others.calibration_error < 0.05


@pytest.mark.parametrize("score_all", [False, True])
@pytest.mark.parametrize("penalty", [None, Penalty(0.01, 1_700)])
def test_large_fit_depends_on_its_rows_and_penalty_alone(
    digits, monkeypatch, score_all, penalty
) -> None:
    monkeypatch.setattr(fitting, "_LARGE", 1)
    first = head_of(digits, penalty=penalty)
    again = head_of(digits, penalty=penalty, score_all=score_all)
    assert first.weights_DK.tobytes() == again.weights_DK.tobytes()
