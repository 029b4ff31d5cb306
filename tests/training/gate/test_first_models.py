"""The gate and first models, whose champion knows none of the classes. Suffix N: rows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.gate.make_evidence import POLICY, correct, evidence
from tests.training.head.few_labels import labelled, photos
from training.dataset import Dataset
from training.gate.evaluate import method_of
from training.gate.rules import decide
from training.head.fit import fit_head
from training.recipe import HeadRecipe

pytestmark = pytest.mark.slow  # not in `make check`

NUM_DRAWS = 20
NOTHING_KNOWN = frozenset({"starter's"})


def share_held_back(num_per_class: int) -> float:
    held_back = 0
    for seed in range(NUM_DRAWS):
        training, *_ = photos(num_per_class, 0, seed)
        fitted = fit_head(training, HeadRecipe(), score_all=True)
        right_N = fitted.out_of_fold_NK.argmax(axis=1) == training.y_N
        case = evidence(
            np.zeros(len(right_N)),
            right_N,
            classes=training.classes,
            label_N=training.y_N,
            old_classes=NOTHING_KNOWN,
        )
        held_back += not decide(case, POLICY).promote
    return held_back / NUM_DRAWS


@pytest.mark.parametrize(("num_per_class", "limit"), [(2, 0.15), (3, 0.05), (5, 0.05)])
def test_first_model_of_few_labels_is_rarely_held_back(num_per_class: int, limit: float) -> None:
    assert share_held_back(num_per_class) <= limit


def test_first_model_that_guesses_is_held_back_once_classes_have_enough_examples() -> None:
    label_N = np.repeat(np.arange(5), POLICY.min_class_examples)
    case = evidence(
        np.zeros(25),
        label_N == 2,
        classes=tuple("abcde"),
        label_N=label_N,
        old_classes=NOTHING_KNOWN,
    )
    decision = decide(case, POLICY)
    assert not decision.promote
    assert "20.0 % right on average over 5 classes, where guessing gives 20.0 %" in decision.reason


def test_first_model_is_not_held_back_for_one_example_of_a_rare_class() -> None:
    """1,000 dogs and ten cats: 200 dogs and one cat are held out, and the cat is missed."""
    is_cat_N = np.arange(201) == 0
    case = evidence(
        np.zeros(201), ~is_cat_N, label_N=is_cat_N.astype(int), old_classes=NOTHING_KNOWN
    )
    assert decide(case, POLICY).promote


def many_and_few(num_many_held_out: int, num_few_held_out: int) -> Dataset:
    """Two classes, of which 20 examples each train."""
    trained_N = np.arange(40) % 2
    held_out_N = np.repeat([0, 1], [num_many_held_out, num_few_held_out])
    y_N = np.concatenate([trained_N, held_out_N])
    return labelled(np.zeros((len(y_N), 3), np.float32), y_N, num_trained=40)


def test_first_model_is_cross_validated_until_every_class_has_enough_held_out_examples() -> None:
    least = POLICY.min_class_examples
    for num_few, method in (
        (0, "cross-validation"),
        (least - 1, "cross-validation"),
        (least, "hold-out"),
    ):
        assert method_of(many_and_few(200, num_few), NOTHING_KNOWN, POLICY) == method


def test_successor_is_judged_on_the_hold_out_though_a_class_is_rare() -> None:
    rows = many_and_few(200, 1)
    assert method_of(rows, rows.classes, POLICY) == "hold-out"
    assert method_of(many_and_few(50, 1), rows.classes, POLICY) == "cross-validation"


def test_guesses_of_the_common_class_are_found_out_by_the_examples_of_a_rare_one() -> None:
    is_cat_N = np.arange(1010) < 10
    case = evidence(
        np.zeros(1010),
        ~is_cat_N,
        label_N=is_cat_N.astype(int),
        method="cross-validation",
        old_classes=NOTHING_KNOWN,
    )
    assert not decide(case, POLICY).promote
    case = evidence(
        np.zeros(1010),
        ~is_cat_N | correct(1010, 1),
        label_N=is_cat_N.astype(int),
        method="cross-validation",
        old_classes=NOTHING_KNOWN,
    )
    assert decide(case, POLICY).promote
