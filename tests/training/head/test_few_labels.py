"""Heads of a few labels a class. Suffixes: N rows, K classes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.head.few_labels import NUM_CLASSES, photos
from training.head.crossval import assign_folds, num_folds_of
from training.head.fit import fit_head
from training.head.regression import tolerance_to_judge
from training.recipe import HeadRecipe

pytestmark = pytest.mark.slow  # not in `make check`

NUM_DRAWS = 10


def test_head_of_five_labels_a_class_is_rarely_sure_and_wrong() -> None:
    """Imprecise out-of-fold fits made one answer in ten wrong at a confidence of 97 %."""
    num_sure_and_wrong = num_answers = 0
    for seed in range(NUM_DRAWS):
        training, x_ND, y_N = photos(5, 500, seed)
        head = fit_head(training, HeadRecipe(), score_all=False).head
        probs_NK = head.probabilities(x_ND)
        is_wrong_N = probs_NK.argmax(axis=1) != y_N
        num_sure_and_wrong += np.count_nonzero(is_wrong_N & (probs_NK.max(axis=1) >= 0.97))
        num_answers += len(y_N)
    assert num_sure_and_wrong <= 0.015 * num_answers


def test_out_of_fold_accuracy_of_two_labels_a_class_is_near_the_true_one() -> None:
    """With five folds, two labels a class were right in a tenth of the cases out of fold."""
    out_of_fold, unseen = [], []
    for seed in range(NUM_DRAWS):
        training, x_ND, y_N = photos(2, 500, seed)
        fitted = fit_head(training, HeadRecipe(), score_all=True)
        out_of_fold.append((fitted.out_of_fold_NK.argmax(axis=1) == training.y_N).mean())
        unseen.append((fitted.head.logits(x_ND).argmax(axis=1) == y_N).mean())
    # A fit on one label a class is worse than one on two, so a part of the gap is real.
    assert np.mean(out_of_fold) > 0.7 * np.mean(unseen)
    assert np.mean(out_of_fold) > 1 / NUM_CLASSES


@pytest.mark.parametrize(
    ("num_K", "most", "expected"),
    [((2, 2), 5, 2), ((3, 40), 5, 3), ((9, 7), 5, 5), ((9, 7), 3, 3), ((1, 30), 5, 2)],
)
def test_folds_are_as_many_as_the_smallest_class_has_examples(
    num_K: tuple[int, ...], most: int, expected: int
) -> None:
    y_N = np.repeat(np.arange(len(num_K)), num_K)
    groups_N = np.array([f"{i}" for i in range(len(y_N))])
    num_folds = num_folds_of(groups_N, y_N, most)
    assert num_folds == expected
    assert len(np.unique(assign_folds(groups_N, y_N, num_folds))) == expected


def test_copies_of_an_image_do_not_add_folds() -> None:
    groups_N = np.array(["a", "a", "a", "b", "c", "d", "e", "f"])
    assert num_folds_of(groups_N, np.array([0, 0, 0, 0, 1, 1, 1, 1]), 5) == 2


def test_class_without_examples_does_not_count() -> None:
    assert num_folds_of(np.arange(8), np.array([0, 0, 0, 0, 2, 2, 2, 2]), 5) == 4


def test_tolerance_to_judge_grows_with_the_task() -> None:
    sizes = [(25, 5), (75, 5), (1_000, 5), (4_000, 10), (30_000, 10)]
    tolerances = [tolerance_to_judge(*size) for size in sizes]
    assert tolerances == sorted(tolerances)
    assert tolerances[0] == tolerances[1] == 1e-5
    assert tolerances[1] < tolerances[2] < tolerances[3] < tolerances[4]
