"""The gate, class by class: one that collapses, and ones that are added."""

import numpy as np
import pytest

from tests.training.gate.make_evidence import POLICY, N, correct, evidence, failed
from training.gate.evidence import Evidence
from training.gate.rules import (
    decide,
)

# Slow: repeats thousands of histories. Not in `make check`.
pytestmark = pytest.mark.slow


def with_class(n_class: int, before: int, after: int, num_classes: int = 10) -> Evidence:
    """Class 0 has n_class examples; the others 50 each, nine in ten right in both versions."""
    classes = tuple(f"class {k}" for k in range(num_classes))
    label_N = np.repeat(np.arange(num_classes), [n_class] + [50] * (num_classes - 1))
    others = np.tile(correct(50, 45), num_classes - 1)
    return evidence(
        np.concatenate([correct(n_class, before), others]),
        np.concatenate([correct(n_class, after), others]),
        classes=classes,
        label_N=label_N,
        old_classes=frozenset(classes),
    )


@pytest.mark.parametrize(
    ("n", "before", "after", "is_vetoed"),
    [
        (5, 5, 0, True),
        (5, 5, 1, False),  # four of five lost: p = 0.06
        (4, 4, 0, False),  # too few examples to call it a class
        (10, 9, 2, True),
        (10, 9, 5, False),  # fell, not halved
        (10, 4, 0, False),  # was not decent before
        (40, 38, 19, True),
        (40, 38, 20, False),
    ],
)  # fmt: skip
def test_class_whose_decent_recall_halves_vetoes(
    n: int, before: int, after: int, is_vetoed: bool
) -> None:
    assert ("collapse" in failed(with_class(n, before, after, num_classes=50))) == is_vetoed


def test_reason_names_the_collapsed_class() -> None:
    decision = decide(with_class(5, 5, 0, num_classes=50), POLICY)
    assert "collapsed: class 0 (5 of 5 right before, 0 now)" in decision.reason


@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9])
def test_collapse_check_of_200_classes_rarely_raises_a_false_alarm(accuracy: float) -> None:
    rng = np.random.default_rng(3)
    classes = tuple(str(k) for k in range(200))
    alarms = 0
    for _ in range(200):
        champion = rng.random(N) < accuracy
        flip = rng.random(N) < np.where(champion, 0.09 / 2 / accuracy, 0.09 / 2 / (1 - accuracy))
        case = evidence(
            champion, champion ^ flip, classes=classes, label_N=np.arange(N) % 200,
            old_classes=frozenset(classes),
        )  # fmt: skip
        alarms += "collapse" in failed(case)
    assert alarms <= 2


# Added classes


def test_gain_from_new_classes_cannot_hide_a_loss_on_old_ones() -> None:
    is_old_N = np.arange(N) < 600
    champion = is_old_N & (np.arange(N) < 560)
    challenger = np.where(is_old_N, np.arange(N) < 500, True)
    case = evidence(champion, challenger, label_N=(~is_old_N).astype(int),
                    old_classes=frozenset({"cat"}))  # fmt: skip
    assert failed(case) == ["old classes"]
    assert "without the added dog, 83.3 % against 93.3 % on 600" in decide(case, POLICY).reason


def test_old_classes_may_lose_a_little_for_new_ones() -> None:
    n_old = 800
    is_old_N = np.arange(N) < n_old
    champion, challenger = is_old_N & correct(N, 760), correct(N, 748) | ~is_old_N
    added = {"label_N": (~is_old_N).astype(int), "old_classes": frozenset({"cat"})}
    assert decide(evidence(champion, challenger, **added), POLICY).promote
    assert not decide(evidence(champion[:n_old], challenger[:n_old]), POLICY).promote


def test_champion_whose_classes_have_no_judged_example_stays() -> None:
    case = evidence([False] * 20, [True] * 20, label_N=np.ones(20, int),
                    old_classes=frozenset({"cat"}))  # fmt: skip
    assert failed(case) == ["evidence"]
