"""The error rates of the gate, by enumeration and simulation.

H: one row per simulated history; the other suffixes and counts are those of training/gate/rules.py.
"""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from tests.training.gate.make_evidence import POLICY, N, evidence
from training.gate.rules import (
    decide,
    is_near_best,
    is_non_inferior,
    is_not_harmed,
    widened_margin,
)

# Slow: repeats thousands of histories. Not in `make check`.
pytestmark = pytest.mark.slow


def promotion_rate(discordance: float, change: float, n: int = N) -> float:
    """The exact chance of promotion: the sum over all numbers of discordant examples."""
    discordant = np.arange(n + 1)
    weight = binom.pmf(discordant, n, discordance)
    rate = 0.0
    margin = widened_margin(POLICY.margin, n, POLICY)
    for num, p in zip(discordant[weight > 1e-12], weight[weight > 1e-12], strict=True):
        b = np.arange(num + 1)
        passed = is_non_inferior(b, num - b, n, margin, POLICY, "hold-out") & is_not_harmed(
            b, num - b, POLICY, "hold-out"
        )
        share = (discordance + change) / (2 * discordance)
        rate += p * float(binom.pmf(b, num, share)[passed].sum())
    return rate


@pytest.mark.parametrize("discordance", [0.02, 0.04, 0.07, 0.10, 0.15, 0.18, 0.20])
def test_challenger_2_points_worse_is_promoted_in_at_most_5_percent(discordance: float) -> None:
    assert promotion_rate(discordance, -0.02) <= 0.05


@pytest.mark.parametrize("discordance", [0.02, 0.04, 0.07, 0.10, 0.15, 0.18])
def test_challenger_2_points_better_is_held_back_in_at_most_10_percent(
    discordance: float,
) -> None:
    assert 1 - promotion_rate(discordance, 0.02) <= 0.10


def test_better_challenger_at_20_percent_discordance_is_held_back_as_rarely_as_possible() -> None:
    # Neyman-Pearson: with z_0.05 = 1.645 and a distance of 4 points, no test of 1,000 pairs that
    # differ in 20 % can do better than P(Z < 1.645 - 0.04 / sqrt((0.2 - 0.02^2) / 1000)) = 11.8 %.
    assert 1 - promotion_rate(0.20, 0.02) <= 0.120


def test_smaller_hold_outs_keep_the_error_rates_at_their_wider_margin() -> None:
    for n in (100, 200, 400):
        margin = float(widened_margin(POLICY.margin, n, POLICY))
        assert promotion_rate(0.15, -margin, n) <= 0.055
        assert 1 - promotion_rate(0.15, margin, n) <= 0.10


@pytest.mark.parametrize(("accuracy", "discordance"), [(0.7, 0.18), (0.85, 0.10), (0.95, 0.04)])
def test_decision_has_the_error_rates_of_its_rule(accuracy: float, discordance: float) -> None:
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
        promote_H = is_non_inferior(b, c, N, POLICY.margin, POLICY, "hold-out")
        promote_H &= is_not_harmed(b, c, POLICY, "hold-out")
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
def test_champion_drifts_by_less_than_a_point_in_200_retrains_without_real_change(
    discordance: float, step: float
) -> None:
    true_H, measured_H = drift(discordance, step)
    assert true_H.mean() > -0.05
    assert np.quantile(true_H, 0.01) > -1
    assert measured_H.min() > -1


@pytest.mark.parametrize("discordance", [0.02, 0.04])
def test_best_ever_check_stops_small_losses_from_adding_up(discordance: float) -> None:
    """Every challenger is really 0.1 points worse than the champion: 20 points in 200 retrains."""
    _, measured_H = drift(discordance, 0.0, bias=-0.001)
    _, unguarded_H = drift(discordance, 0.0, bias=-0.001, with_best=False)
    assert measured_H.min() > -1
    assert unguarded_H.mean() < -1.9
