"""The gate: its error rates by enumeration and simulation, then every check at its limit.

H: one row per simulated history; the other suffixes and counts are those of training/gate.py.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest

from training import paired
from training.evidence import Evidence, GatePolicy
from training.gate import (
    choose_method,
    decide,
    is_close,
    is_near_best,
    is_unharmed,
    widened,
)

# Waits for real moments, or repeats thousands of histories: not in `make check`.
pytestmark = pytest.mark.slow

POLICY = GatePolicy()
N = 1000


def evidence(champion: object, challenger: object, **changes: object) -> Evidence:
    """Two classes in turn, everything within bounds; a hold-out unless it is small."""
    champion_N, challenger_N = np.array(champion, dtype=bool), np.array(challenger, dtype=bool)
    n = len(challenger_N)
    whole = Evidence(
        method=choose_method(n, POLICY),
        classes=("cat", "dog"),
        label_N=np.arange(n) % 2,
        champion_correct_N=champion_N,
        challenger_correct_N=challenger_N,
        old_classes=frozenset({"cat", "dog"}),
        champion_version=7,
        parity=1e-6,
        latency_ratio=1.0,
        size_bytes=9_000_000,
    )
    return replace(whole, **changes)


def correct(n: int, num_right: int) -> NDArray[np.bool_]:
    return np.arange(n) < num_right


def failed(decision_of: Evidence) -> list[str]:
    return [check.name for check in decide(decision_of, POLICY).checks if not check.passed]


def promotion_rate(discordance: float, change: float, n: int = N) -> float:
    """The exact chance of promotion: the sum over all numbers of discordant examples."""
    discordant = np.arange(n + 1)
    weight = binom.pmf(discordant, n, discordance)
    rate = 0.0
    margin = widened(POLICY.margin, n, POLICY)
    for num, p in zip(discordant[weight > 1e-12], weight[weight > 1e-12], strict=True):
        b = np.arange(num + 1)
        passed = is_close(b, num - b, n, margin, POLICY, "hold-out") & is_unharmed(
            b, num - b, POLICY, "hold-out"
        )
        share = (discordance + change) / (2 * discordance)
        rate += p * float(binom.pmf(b, num, share)[passed].sum())
    return rate


# Error rates


@pytest.mark.parametrize("discordance", [0.02, 0.04, 0.07, 0.10, 0.15, 0.18, 0.20])
def test_a_challenger_2_points_worse_is_promoted_in_at_most_5_percent(discordance: float) -> None:
    assert promotion_rate(discordance, -0.02) <= 0.05


@pytest.mark.parametrize("discordance", [0.02, 0.04, 0.07, 0.10, 0.15, 0.18])
def test_a_challenger_2_points_better_is_held_back_in_at_most_10_percent(
    discordance: float,
) -> None:
    assert 1 - promotion_rate(discordance, 0.02) <= 0.10


def test_at_20_percent_discordance_holding_back_is_as_rare_as_any_rule_allows() -> None:
    # Neyman-Pearson: with z_0.05 = 1.645 and a distance of 4 points, no test of 1,000 pairs that
    # differ in 20 % can do better than P(Z < 1.645 - 0.04 / sqrt((0.2 - 0.02^2) / 1000)) = 11.8 %.
    assert 1 - promotion_rate(0.20, 0.02) <= 0.120


def test_smaller_hold_outs_keep_the_error_rates_at_their_wider_margin() -> None:
    for n in (100, 200, 400):
        margin = float(widened(POLICY.margin, n, POLICY))
        assert promotion_rate(0.15, -margin, n) <= 0.055
        assert 1 - promotion_rate(0.15, margin, n) <= 0.10


@pytest.mark.parametrize(("accuracy", "discordance"), [(0.7, 0.18), (0.85, 0.10), (0.95, 0.04)])
def test_the_whole_decision_has_the_same_error_rates_as_its_rule(
    accuracy: float, discordance: float
) -> None:
    rng = np.random.default_rng(1)
    histories = 200
    promoted = {}
    for change in (-0.02, 0.02):
        gained, lost = (discordance + change) / 2, (discordance - change) / 2
        champion_HN = rng.random((histories, N)) < accuracy
        flip_HN = rng.random((histories, N)) < np.where(
            champion_HN, lost / accuracy, gained / (1 - accuracy)
        )
        classes = tuple(str(k) for k in range(20))
        promoted[change] = (
            sum(
                decide(
                    evidence(
                        champion,
                        champion ^ flip,
                        classes=classes,
                        label_N=np.arange(N) % 20,
                        old_classes=frozenset(classes),
                    ),
                    POLICY,
                ).promote
                for champion, flip in zip(champion_HN, flip_HN, strict=True)
            )
            / histories
        )
    # Three standard errors of 200 histories at 5 % and at 9 %.
    assert promoted[-0.02] <= 0.05 + 0.046
    assert 1 - promoted[0.02] <= 0.09 + 0.061


def drift(
    discordance: float, step: float, bias: float = 0.0, with_best: bool = True, histories: int = 300
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Retrain 200 times; return the champion's true and measured change, in points.

    Some examples are fickle: every version gets them right or wrong anew, whatever its parents did,
    which is the hardest case for a gate. All others stay as they are. The true accuracy of each
    challenger is that of the champion it starts from, plus a normal step.
    """
    rng = np.random.default_rng(2)
    fickle = int(2 * discordance * N)
    room = fickle / N / 2
    champion_HF = rng.random((histories, fickle)) < 0.5
    best_HF, start_H = champion_HF, champion_HF.sum(1)
    true_H = np.zeros(histories)
    margin = POLICY.drift_margin
    for _ in range(200):
        new_true_H = np.clip(true_H + rng.normal(bias, step, histories), -room, room)
        new_HF = rng.random((histories, fickle)) < (0.5 + new_true_H / room / 2)[:, None]
        b = (new_HF & ~champion_HF).sum(1)
        c = (champion_HF & ~new_HF).sum(1)
        promote_H = is_close(b, c, N, POLICY.margin, POLICY, "hold-out")
        promote_H &= is_unharmed(b, c, POLICY, "hold-out")
        if with_best:
            counts = new_HF.sum(1), champion_HF.sum(1), best_HF.sum(1)
            promote_H &= is_near_best(*counts, N, margin)
        champion_HF = np.where(promote_H[:, None], new_HF, champion_HF)
        true_H = np.where(promote_H, new_true_H, true_H)
        is_best_H = champion_HF.sum(1) > best_HF.sum(1)
        best_HF = np.where(is_best_H[:, None], champion_HF, best_HF)
    return 100 * true_H, 100 * (champion_HF.sum(1) - start_H) / N


@pytest.mark.parametrize("discordance", [0.02, 0.04, 0.10, 0.18])
@pytest.mark.parametrize("step", [0.0, 0.0025, 0.005])
def test_200_retrains_without_real_change_drift_by_less_than_a_point(
    discordance: float, step: float
) -> None:
    true_H, measured_H = drift(discordance, step)
    assert true_H.mean() > -0.05
    assert np.quantile(true_H, 0.01) > -1
    assert measured_H.min() > -1


@pytest.mark.parametrize("discordance", [0.02, 0.04])
def test_the_best_ever_stops_the_ratchet_that_small_losses_would_turn(discordance: float) -> None:
    """Every challenger is really 0.1 points worse than the champion: 20 points in 200 retrains."""
    _, measured_H = drift(discordance, 0.0, bias=-0.001)
    _, unguarded_H = drift(discordance, 0.0, bias=-0.001, with_best=False)
    assert measured_H.min() > -1
    assert unguarded_H.mean() < -1.9


# Collapse


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
def test_a_class_that_falls_from_decent_to_half_vetoes(
    n: int, before: int, after: int, is_vetoed: bool
) -> None:
    assert ("collapse" in failed(with_class(n, before, after, num_classes=50))) == is_vetoed


def test_the_reason_names_the_collapsed_class() -> None:
    decision = decide(with_class(5, 5, 0, num_classes=50), POLICY)
    assert "collapsed: class 0 (5 of 5 right before, 0 now)" in decision.reason


@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9])
def test_200_classes_of_5_examples_rarely_raise_a_false_alarm(accuracy: float) -> None:
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


def test_a_gain_from_new_classes_cannot_hide_a_loss_on_old_ones() -> None:
    is_old_N = np.arange(N) < 600
    champion = is_old_N & (np.arange(N) < 560)
    challenger = np.where(is_old_N, np.arange(N) < 500, True)
    case = evidence(champion, challenger, label_N=(~is_old_N).astype(int),
                    old_classes=frozenset({"cat"}))  # fmt: skip
    assert failed(case) == ["old classes"]
    assert "without the added dog, 83.3 % against 93.3 % on 600" in decide(case, POLICY).reason


def test_old_classes_may_pay_a_little_for_new_ones() -> None:
    n_old = 800
    is_old_N = np.arange(N) < n_old
    champion, challenger = is_old_N & correct(N, 760), correct(N, 748) | ~is_old_N
    added = {"label_N": (~is_old_N).astype(int), "old_classes": frozenset({"cat"})}
    assert decide(evidence(champion, challenger, **added), POLICY).promote
    assert not decide(evidence(champion[:n_old], challenger[:n_old]), POLICY).promote


def test_a_champion_whose_classes_have_no_judged_example_stays() -> None:
    case = evidence([False] * 20, [True] * 20, label_N=np.ones(20, int),
                    old_classes=frozenset({"cat"}))  # fmt: skip
    assert failed(case) == ["evidence"]


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
def test_a_first_model_of_ten_photos_of_two_things_must_beat_guessing(
    num_right: int, promote: bool
) -> None:
    case = evidence([False] * 20, correct(20, num_right), old_classes=frozenset({"starter's"}))
    decision = decide(case, POLICY)
    assert decision.promote == promote
    assert "version 7 knows none of these classes" in decision.reason
    assert promote or "where guessing gives 50.0 %" in decision.reason


def test_always_answering_the_commonest_class_is_guessing() -> None:
    rare_N = (np.arange(40) < 4).astype(int)
    case = evidence([False] * 40, rare_N == 0, label_N=rare_N, old_classes=frozenset())
    assert failed(case) == ["chance"]


@pytest.mark.parametrize(("n", "label"), [(4, 0), (30, 0)])
def test_a_first_model_that_cannot_be_told_from_guessing_is_promoted(n: int, label: int) -> None:
    case = evidence([False] * n, correct(n, n // 2), label_N=np.full(n, label),
                    old_classes=frozenset())  # fmt: skip
    assert decide(case, POLICY).promote


def test_choose_method_falls_back_below_the_least_hold_out() -> None:
    assert choose_method(99, POLICY) == "cross-validation"
    assert choose_method(100, POLICY) == "hold-out"


# Bounds, the first version, nothing judged


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"parity": 1.1e-3}, "parity", "differs from the trained one by 0.0011, limit 0.001"),
        ({"parity": float("nan")}, "parity", "by nan, limit 0.001"),
        ({"latency_ratio": 1.51}, "latency", "takes 1.51 times as long, limit 1.50"),
        ({"size_bytes": 2**31}, "size", "2,147.5 MB, limit 2,147.5 MB"),
    ],
)
def test_a_bound_vetoes_with_the_value_and_the_limit(
    changes: dict[str, object], name: str, sentence: str
) -> None:
    case = evidence(correct(N, 900), correct(N, 990), **changes)
    assert failed(case) == [name]
    assert sentence in decide(case, POLICY).reason


@pytest.mark.parametrize("changes", [{"parity": 1e-3}, {"latency_ratio": 1.5}])
def test_a_bound_that_is_met_exactly_passes(changes: dict[str, object]) -> None:
    assert decide(evidence(correct(N, 900), correct(N, 900), **changes), POLICY).promote


def test_the_first_version_needs_only_the_bounds() -> None:
    first = {"champion_version": None, "old_classes": frozenset()}
    decision = decide(evidence([], correct(20, 3), **first), POLICY)
    assert decision.promote
    assert "this is the first version" in decision.reason
    assert decision.change is None
    assert failed(evidence([], correct(20, 20), parity=1.0, **first)) == ["parity"]


def test_with_nothing_judged_the_champion_stays_and_the_reason_says_so() -> None:
    decision = decide(evidence([], []), POLICY)
    assert not decision.promote
    assert "no labelled example could be judged" in decision.reason


@pytest.mark.parametrize("version", [None, 7])
def test_with_nothing_judged_and_nothing_known_the_challenger_is_promoted(
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
def test_the_best_ever_holds_back_what_would_lose_a_point(
    champion: int, challenger: int, best: int, promote: bool
) -> None:
    case = evidence(correct(N, champion), np.roll(correct(N, challenger), 10),
                    best_correct_N=correct(N, best), best_version=4)  # fmt: skip
    decision = decide(case, POLICY)
    assert decision.promote == promote
    assert promote or "of version 4, the best ever" in decision.reason


# The record


def test_the_reason_of_a_promotion_can_be_read_by_anyone() -> None:
    champion, challenger = np.ones(412, bool), np.ones(412, bool)
    champion[:33] = False
    challenger[20:44] = False
    decision = decide(evidence(champion, challenger), POLICY)
    assert decision.reason == (
        "promoted: 94.2 % against 92.0 % of version 7 on 412 held-out examples "
        "(change +2.2 points, 90 % interval +0.0 to +4.5)"
    )


def test_every_check_is_recorded_and_the_decision_survives_json() -> None:
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
def test_more_right_answers_never_turn_a_promotion_into_a_hold_back(
    drawn: tuple[Evidence, int],
) -> None:
    case, num_mended = drawn
    mended_N = case.challenger_correct_N.copy()
    mended_N[np.flatnonzero(~mended_N)[:num_mended]] = True
    better = replace(case, challenger_correct_N=mended_N)
    assert decide(better, POLICY).promote >= decide(case, POLICY).promote


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_non_inferiority_is_monotone_in_every_count(n: int) -> None:
    margin = float(widened(POLICY.margin, n, POLICY))
    b, c = np.meshgrid(np.arange(n // 2), np.arange(n // 2), indexing="ij")
    z = paired.score(b, c, n, -margin)
    assert (np.diff(z, axis=0) >= -1e-9).all()
    assert (np.diff(z, axis=1) <= 1e-9).all()


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 600))
def test_the_interval_holds_the_change_and_mirrors_when_the_versions_swap(
    b: int, c: int, same: int
) -> None:
    n = max(b + c + same, 1)
    low, high = paired.interval(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert paired.interval(c, b, n) == pytest.approx((-high, -low), abs=1e-9)


def test_the_interval_agrees_with_an_independent_implementation() -> None:
    # PropCIs::scoreci.mp(25, 28, 618, conf.level = 0.90) in R.
    assert paired.interval(28, 25, 618, 0.90) == pytest.approx((-0.0148, 0.0247), abs=5e-5)


@pytest.mark.parametrize(("b", "c", "n"), [(12, 5, 60), (0, 3, 25), (40, 70, 1000)])
def test_the_score_uses_the_most_likely_discordance(b: int, c: int, n: int) -> None:
    change = -0.03

    def loss(lost: float) -> float:
        gained = lost + change
        return -(b * np.log(gained) + c * np.log(lost) + (n - b - c) * np.log1p(-gained - lost))

    lost = minimize_scalar(loss, bounds=(-change + 1e-12, 0.5), options={"xatol": 1e-10}).x
    expected = (b - c - n * change) / np.sqrt(n * (2 * lost + change - change**2))
    assert paired.score(b, c, n, change) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 5), (7, 3), (40, 61)])
def test_harm_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = binomtest(b, b + c, 0.5, alternative="less").pvalue if b + c else 1.0
    assert paired.harm_p(b, c) == pytest.approx(expected)


def test_paired_change_of_nothing_is_unknown() -> None:
    nothing = np.zeros(0, bool)
    assert paired.paired_change(nothing, nothing) == (0.0, -1.0, 1.0)
