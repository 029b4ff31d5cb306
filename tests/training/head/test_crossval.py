"""Suffixes: N rows, K classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from training.head.crossval import assign_folds, choose_l2, out_of_fold
from training.head.design_matrix import prepare
from training.head.head import ABSENT_BIAS

# Trains for real, again and again: not in `make check`.
pytestmark = pytest.mark.slow

STRONGEST = 3.0
GRID = (0.001, 0.01, 0.1, 1.0, 3.0)


@pytest.fixture(scope="module")
def digits():
    x_ND, y_N = load_digits(return_X_y=True)
    return x_ND[:800], y_N[:800]


@pytest.fixture(scope="module")
def design(digits):
    return prepare(digits[0])


def accuracy(logits_NK, y_N):
    return float((logits_NK.argmax(axis=1) == y_N).mean())


def test_groups_never_straddle_folds_and_classes_are_even():
    rng = np.random.default_rng(0)
    groups_N = rng.integers(0, 200, 1000)
    y_N = groups_N % 4
    fold_N = assign_folds(groups_N, y_N, 5)
    assert all(len(np.unique(fold_N[groups_N == group])) == 1 for group in groups_N)
    for k in range(4):
        counts = np.bincount(fold_N[y_N == k], minlength=5)
        assert counts.max() - counts.min() <= 3


def test_groups_may_be_named_and_disagree_on_their_label():
    groups_N = np.array(["a", "a", "a", "b", "c", "d", "e"])
    fold_N = assign_folds(groups_N, np.array([0, 0, 1, 0, 1, 1, 0]), 2)
    assert len(set(fold_N[:3].tolist())) == 1
    assert set(fold_N.tolist()) == {0, 1}


def test_folds_follow_the_seed_alone():
    groups_N, y_N = np.arange(100), np.arange(100) % 3
    first = assign_folds(groups_N, y_N, 5)
    assert first.tobytes() == assign_folds(groups_N, y_N, 5).tobytes()
    assert first.tobytes() != assign_folds(groups_N, y_N, 5, seed=1).tobytes()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0] * 10 + [1] * 3, 5),
        ([0] * 10 + [1], 5),
        ([0, 1], 2),
        ([0], 1),
        ([], 0),
    ],
)
def test_folds_are_as_many_as_groups_allow(labels, expected):
    fold_N = assign_folds(np.arange(len(labels)), np.array(labels, np.intp), 5)
    assert len(np.unique(fold_N)) == expected


def test_class_with_enough_groups_is_in_every_fold():
    y_N = np.array([0] * 40 + [1] * 5)
    fold_N = assign_folds(np.arange(45), y_N, 5)
    assert sorted(fold_N[y_N == 1]) == [0, 1, 2, 3, 4]


def test_out_of_fold_is_accurate_on_digits(digits, design):
    _, y_N = digits
    fold_N = assign_folds(np.arange(len(y_N)), y_N, 5)
    assert accuracy(out_of_fold(design, y_N, fold_N, 10, l2=0.01), y_N) > 0.93


def test_out_of_fold_never_sees_its_own_fold(design):
    rng = np.random.default_rng(0)
    y_N = rng.integers(0, 2, len(design.x_NR))
    x_ND = rng.normal(size=(len(y_N), 700))  # wide enough to learn any labels by heart
    fold_N = assign_folds(np.arange(len(y_N)), y_N, 5)
    logits_NK = out_of_fold(prepare(x_ND), y_N, fold_N, 2, l2=0.001)
    assert accuracy(logits_NK, y_N) == pytest.approx(0.5, abs=0.07)


def test_changed_label_does_not_change_the_scores_of_its_fold(digits, design):
    y_N = digits[1].copy()
    fold_N = assign_folds(np.arange(len(y_N)), y_N, 5)
    before_NK = out_of_fold(design, y_N, fold_N, 10, l2=0.1)
    y_N[fold_N == 0] = 0
    after_NK = out_of_fold(design, y_N, fold_N, 10, l2=0.1)
    np.testing.assert_array_equal(after_NK[fold_N == 0], before_NK[fold_N == 0])
    assert (after_NK[fold_N == 1] != before_NK[fold_N == 1]).any()


def test_rows_outside_the_training_mask_are_scored_but_not_learnt_from(digits, design):
    y_N = digits[1].copy()
    fold_N = assign_folds(np.arange(len(y_N)), y_N, 5)
    seen_N = np.arange(len(y_N)) < 600
    logits_NK = out_of_fold(design, y_N, fold_N, 10, l2=0.01, train_mask_N=seen_N)
    assert accuracy(logits_NK[~seen_N], y_N[~seen_N]) > 0.8
    y_N[~seen_N] = 0
    again_NK = out_of_fold(design, y_N, fold_N, 10, l2=0.01, train_mask_N=seen_N)
    np.testing.assert_array_equal(logits_NK, again_NK)


def test_class_with_a_single_group_is_absent_where_it_is_scored(digits, design):
    y_N = digits[1].copy()
    y_N[0] = 10
    fold_N = assign_folds(np.arange(len(y_N)), y_N, 5)
    logits_NK = out_of_fold(design, y_N, fold_N, 11, l2=0.01)
    assert logits_NK[0, 10] == ABSENT_BIAS
    assert (logits_NK[fold_N != fold_N[0], 10] > ABSENT_BIAS / 2).all()


def test_choose_l2_picks_strong_for_noise_and_weak_for_signal(digits, design):
    _, y_N = digits
    fold_N = assign_folds(np.arange(len(y_N)), y_N, 5)
    signal_l2 = choose_l2(design, y_N, fold_N, 10, GRID)
    noise_N = np.random.default_rng(0).permutation(y_N)
    noise_l2 = choose_l2(design, noise_N, assign_folds(np.arange(800), noise_N, 5), 10, GRID)
    assert noise_l2 == STRONGEST
    assert signal_l2 <= 0.01


def test_out_of_fold_of_some_folds_is_that_of_all_and_nan_elsewhere(digits, design):
    _, y_N = digits
    fold_N = assign_folds(np.arange(len(y_N)), y_N, 3)
    whole_NK = out_of_fold(design, y_N, fold_N, 10, l2=0.01)
    part_NK = out_of_fold(design, y_N, fold_N, 10, l2=0.01, folds=[1])
    np.testing.assert_array_equal(part_NK[fold_N == 1], whole_NK[fold_N == 1])
    assert np.isnan(part_NK[fold_N != 1]).all()


def test_choose_l2_scales_with_the_rows_it_did_not_sample():
    rng = np.random.default_rng(0)
    y_N = rng.integers(0, 2, 4000)
    design = prepare(rng.normal(size=(4000, 20)))
    l2 = choose_l2(design, y_N, assign_folds(np.arange(4000), y_N, 5), 2, GRID)
    assert l2 == pytest.approx(STRONGEST * 1000 / 4000)


def test_choose_l2_of_many_classes_gives_an_accurate_head():
    rng = np.random.default_rng(0)
    y_N = np.arange(1200) % 60
    x_ND = np.eye(60)[y_N] + 0.2 * rng.normal(size=(1200, 60))
    fold_N = assign_folds(np.arange(1200), y_N, 5)
    design = prepare(x_ND)
    l2 = choose_l2(design, y_N, fold_N, 60)
    assert l2 < 1
    assert accuracy(out_of_fold(design, y_N, fold_N, 60, l2=l2), y_N) > 0.9


@pytest.mark.parametrize("labels", [[0, 1], [0, 0, 0], [0]])
def test_choose_l2_is_strongest_where_no_row_is_scorable(labels):
    y_N = np.array(labels)
    design = prepare(np.random.default_rng(0).normal(size=(len(y_N), 6)))
    fold_N = assign_folds(np.arange(len(y_N)), y_N, 5)
    assert choose_l2(design, y_N, fold_N, 2, GRID) == STRONGEST


def test_same_inputs_give_the_same_bits(digits):
    x_ND, y_N = digits
    found = []
    for _ in range(2):
        fold_N = assign_folds(np.arange(len(y_N)), y_N, 5)
        design = prepare(x_ND)
        l2 = choose_l2(design, y_N, fold_N, 10, GRID)
        found.append((l2, out_of_fold(design, y_N, fold_N, 10, l2=l2).tobytes()))
    assert found[0] == found[1]
