"""The gate: every check at its limit, and its reasons."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.gate.make_evidence import POLICY, N, correct, evidence, failed
from training.gate.evidence import Evidence
from training.gate.rules import choose_method, decide

# Slow: repeats thousands of histories. Not in `make check`.
pytestmark = pytest.mark.slow


# Few examples


@pytest.mark.parametrize(
    ("n", "champion_only", "challenger_only", "promote"),
    [
        (10, 0, 0, True),  # a tie goes to the challenger, which knows more labels
        (10, 1, 0, True),
        (10, 2, 0, True),
        (10, 3, 0, False),  # 30 points: past the 20 that 10 examples resolve
        (40, 3, 0, True),
        (40, 4, 0, False),  # p = 0.06
        (200, 9, 4, True),
        (200, 10, 3, False),  # p = 0.046
        (500, 40, 31, True),
        (500, 60, 40, False),
    ],
)
def test_cross_validation_promotes_unless_there_is_evidence_of_harm(
    n: int, champion_only: int, challenger_only: int, promote: bool
) -> None:
    champion, challenger = np.ones(n, bool), np.ones(n, bool)
    challenger[:champion_only] = False
    champion[champion_only : champion_only + challenger_only] = False
    decision = decide(evidence(champion, challenger, method="cross-validation"), POLICY)
    assert decision.promote == promote
    assert f"in cross-validation on {n} labelled examples" in decision.reason
    assert "held-out examples are still few" in decision.reason


@pytest.mark.parametrize("n", [10, 30, 100, 300])
def test_cross_validation_promotes_an_equal_challenger_in_nine_of_ten(n: int) -> None:
    rng = np.random.default_rng(4)
    champion_HN = rng.random((150, n)) < 0.8
    flip_HN = rng.random((150, n)) < np.where(champion_HN, 0.05 / 0.8, 0.05 / 0.2)
    promoted = sum(
        decide(evidence(before, before ^ flip, method="cross-validation"), POLICY).promote
        for before, flip in zip(champion_HN, flip_HN, strict=True)
    )
    assert promoted >= 0.9 * 150


@pytest.mark.parametrize(
    ("num_right", "promote"), [(20, True), (13, True), (11, True), (10, False), (4, False)]
)
def test_first_model_must_beat_guessing(num_right: int, promote: bool) -> None:
    case = evidence([False] * 20, correct(20, num_right), old_classes=frozenset({"starter's"}))
    decision = decide(case, POLICY)
    assert decision.promote == promote
    assert "version 7 knows none of these classes" in decision.reason
    assert promote or "where guessing gives 50.0 %" in decision.reason


def test_predicting_only_the_commonest_class_is_guessing() -> None:
    rare_N = (np.arange(40) < 5).astype(int)
    case = evidence([False] * 40, rare_N == 0, label_N=rare_N, old_classes=frozenset())
    assert failed(case) == ["chance"]


@pytest.mark.parametrize(("n", "label"), [(4, 0), (30, 0)])
def test_first_model_with_too_few_examples_to_judge_is_promoted(n: int, label: int) -> None:
    case = evidence([False] * n, correct(n, n // 2), label_N=np.full(n, label),
                    old_classes=frozenset())  # fmt: skip
    assert decide(case, POLICY).promote


def test_method_is_cross_validation_below_min_holdout() -> None:
    assert choose_method(99, POLICY) == "cross-validation"
    assert choose_method(100, POLICY) == "hold-out"


# Bounds, the first version, nothing judged


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"parity": 1.1e-3}, "parity", "differs from the trained one by 0.0011, limit 0.001"),
        ({"parity": float("nan")}, "parity", "by nan, limit 0.001"),
        (
            {"latency_ratio": 1.51},
            "latency",
            "takes 1.51 times as long as the champion's, limit 1.50",
        ),
        ({"size_bytes": 2**31}, "size", "2,147.5 MB, limit 2,147.5 MB"),
    ],
)
def test_exceeded_bound_vetoes_with_its_value_and_limit(
    changes: dict[str, object], name: str, sentence: str
) -> None:
    case = evidence(correct(N, 900), correct(N, 990), **changes)
    assert failed(case) == [name]
    assert sentence in decide(case, POLICY).reason


@pytest.mark.parametrize("changes", [{"parity": 1e-3}, {"latency_ratio": 1.5}])
def test_bound_that_is_met_exactly_passes(changes: dict[str, object]) -> None:
    assert decide(evidence(correct(N, 900), correct(N, 900), **changes), POLICY).promote


def test_first_version_needs_only_the_bounds() -> None:
    first = {"champion_version": None, "old_classes": frozenset()}
    decision = decide(evidence([], correct(20, 3), **first), POLICY)
    assert decision.promote
    assert "this is the first version" in decision.reason
    assert decision.change is None
    assert failed(evidence([], correct(20, 20), parity=1.0, **first)) == ["parity"]


def test_champion_stays_when_nothing_was_judged_and_the_reason_says_so() -> None:
    decision = decide(evidence([], []), POLICY)
    assert not decision.promote
    assert "no labelled example could be judged" in decision.reason


@pytest.mark.parametrize("version", [None, 7])
def test_challenger_is_promoted_when_nothing_was_judged_and_nothing_known(
    version: int | None,
) -> None:
    case = evidence([], [], champion_version=version, old_classes=frozenset())
    decision = decide(case, POLICY)
    assert decision.promote
    assert "no labelled example could be judged" in decision.reason


# Best ever


@pytest.mark.parametrize(
    ("champion", "challenger", "best", "promote"),
    [
        (900, 895, 904, True),
        (900, 895, 905, False),  # a whole point below the best
        (900, 900, 940, True),  # no worse than the champion, whatever the best was
    ],
)
def test_best_ever_check_holds_back_a_loss_of_a_point(
    champion: int, challenger: int, best: int, promote: bool
) -> None:
    case = evidence(correct(N, champion), np.roll(correct(N, challenger), 10),
                    best_correct_N=correct(N, best), best_version=4)  # fmt: skip
    decision = decide(case, POLICY)
    assert decision.promote == promote
    assert promote or "of version 4, the best ever" in decision.reason


# The record


def test_reason_of_a_promotion_is_one_readable_sentence() -> None:
    champion, challenger = np.ones(412, bool), np.ones(412, bool)
    champion[:33] = False
    challenger[20:44] = False
    decision = decide(evidence(champion, challenger), POLICY)
    assert decision.reason == (
        "promoted: 94.2 % against 92.0 % of version 7 on 412 held-out examples "
        "(change +2.2 points, 90 % interval +0.0 to +4.5)"
    )


def test_decision_records_every_check_and_converts_to_json() -> None:
    case = evidence(correct(N, 900), correct(N, 910), best_correct_N=correct(N, 915),
                    best_version=4)  # fmt: skip
    decision = decide(case, POLICY)
    plain = json.loads(json.dumps(decision.to_json()))
    assert [check["name"] for check in plain["checks"]] == [
        "parity", "latency", "size", "accuracy", "harm", "best ever", "collapse",
    ]  # fmt: skip
    assert plain["num_judged"] == N
    assert plain["change"] == pytest.approx(0.01)
    assert plain["interval"] == list(decision.interval or ())


# Properties


@st.composite
def cases(draw: st.DrawFn) -> tuple[Evidence, int]:
    n = draw(st.integers(1, 160))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    champion = rng.random(n) < draw(st.sampled_from([0.0, 0.6, 0.9, 1.0]))
    challenger = champion ^ (rng.random(n) < draw(st.sampled_from([0.02, 0.1, 0.3])))
    old = draw(st.sampled_from([(), ("a",), ("a", "b"), ("a", "b", "c")]))
    best = rng.random(n) < 0.9 if draw(st.booleans()) else None
    case = evidence(
        champion, challenger, classes=("a", "b", "c"), label_N=rng.integers(0, 3, n),
        old_classes=frozenset(old), best_correct_N=best, best_version=2,
        method=draw(st.sampled_from(["hold-out", "cross-validation"])),
    )  # fmt: skip
    return case, draw(st.integers(1, n))


@settings(max_examples=200, deadline=None)
@given(cases())
def test_more_right_predictions_never_turn_a_promotion_into_a_hold_back(
    drawn: tuple[Evidence, int],
) -> None:
    case, num_mended = drawn
    mended_N = case.challenger_correct_N.copy()
    mended_N[np.flatnonzero(~mended_N)[:num_mended]] = True
    better = replace(case, challenger_correct_N=mended_N)
    assert decide(better, POLICY).promote >= decide(case, POLICY).promote
