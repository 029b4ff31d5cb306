"""Paired tests: Tango's score and interval, and McNemar's test."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from core.review.comparing import paired_tests
from tests.training.gate.make_evidence import POLICY
from training.gate.rules import (
    widened_margin,
)


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_non_inferiority_is_monotone_in_every_count(n: int) -> None:
    margin = float(widened_margin(POLICY.margin, n, POLICY))
    b, c = np.meshgrid(np.arange(n // 2), np.arange(n // 2), indexing="ij")
    z = paired_tests.tango_z(b, c, n, -margin)
    assert (np.diff(z, axis=0) >= -1e-9).all()
    assert (np.diff(z, axis=1) <= 1e-9).all()


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 600))
def test_interval_contains_the_change_and_mirrors_when_versions_are_swapped(
    b: int, c: int, same: int
) -> None:
    n = max(b + c + same, 1)
    low, high = paired_tests.interval(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert paired_tests.interval(c, b, n) == pytest.approx((-high, -low), abs=1e-9)


def test_interval_agrees_with_an_independent_implementation() -> None:
    # PropCIs::scoreci.mp(25, 28, 618, conf.level = 0.90) in R.
    assert paired_tests.interval(28, 25, 618, 0.90) == pytest.approx((-0.0148, 0.0247), abs=5e-5)


@pytest.mark.parametrize(("b", "c", "n"), [(12, 5, 60), (0, 3, 25), (40, 70, 1000)])
def test_tango_z_uses_the_most_likely_discordance(b: int, c: int, n: int) -> None:
    change = -0.03

    def loss(lost: float) -> float:
        gained = lost + change
        return -(b * np.log(gained) + c * np.log(lost) + (n - b - c) * np.log1p(-gained - lost))

    lost = minimize_scalar(loss, bounds=(-change + 1e-12, 0.5), options={"xatol": 1e-10}).x
    expected = (b - c - n * change) / np.sqrt(n * (2 * lost + change - change**2))
    assert paired_tests.tango_z(b, c, n, change) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 5), (7, 3), (40, 61)])
def test_mcnemar_p_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = binomtest(b, b + c, 0.5, alternative="less").pvalue if b + c else 1.0
    assert paired_tests.mcnemar_p(b, c) == pytest.approx(expected)


def test_change_without_judged_examples_is_unknown() -> None:
    nothing = np.zeros(0, bool)
    pair = paired_tests.compare(nothing, nothing)
    assert (pair.change, pair.low, pair.high) == (0.0, -1.0, 1.0)
