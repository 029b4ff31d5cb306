"""Statistics of two versions that were judged on the same examples.

Owns the paired comparison: how many examples only one of the two got right, Tango's score test and
interval for the change in accuracy, and McNemar's exact test. Owns no rule of promotion.

All functions are vectorised over counts, so that simulations can call them with many histories.

    b  examples that only the challenger got right      n  examples judged
    c  examples that only the champion got right        N  (suffix) one entry per judged example
    K  (suffix) one entry per class

Tango T. (1998), "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design", Statistics in Medicine 17:891-908.
McNemar Q. (1947), "Note on the sampling error of the difference between correlated proportions or
percentages", Psychometrika 12:153-157; here in its exact, binomial form.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
Counts = Any  # an int, or an integer array that broadcasts with the others

# Halvings of [-1, 1], after which the ends are exact to 1e-12.
BISECTIONS = 41


def quantile(confidence: float) -> float:
    """Return z with P(Z <= z) = confidence for a standard normal Z."""
    return NormalDist().inv_cdf(confidence)


def tango_z(b: Counts, c: Counts, n: Counts, difference: Any) -> Floats:
    """Return Tango's z for "the true change in accuracy is `difference`".

    -1 < difference < 1, and n > 0. A large z means that the change is larger. The nuisance
    parameter is its restricted maximum-likelihood estimate, so b = c = 0 is no special case.
    """
    b, c, n = (np.asarray(count, dtype=np.float64) for count in (b, c, n))
    d = np.asarray(difference, dtype=np.float64)
    linear = (2 * n - b + c) * d - b - c
    constant = -c * d * (1 - d)
    only_champion = (np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0)) - linear) / (4 * n)
    variance = n * (2 * only_champion + d * (1 - d))
    return np.asarray((b - c - n * d) / np.sqrt(np.maximum(variance, 1e-12)))


def mcnemar_p(b: Counts, c: Counts) -> Floats:
    """Return McNemar's exact one-sided p: how often equal versions look at least this bad."""
    # Imported here: a serving process shows intervals only, and need not load scipy.
    from scipy.special import bdtr

    return np.asarray(bdtr(b, np.asarray(b) + c, 0.5), dtype=np.float64)


def binomial_tail_p(count: Counts, n: Counts, rate: float) -> Floats:
    """Return P(X >= count) for a binomial X of n trials."""
    from scipy.special import bdtrc

    below = np.maximum(np.asarray(count) - 1, 0)
    return np.where(np.asarray(count) > 0, bdtrc(below, n, rate), 1.0)


def interval(b: int, c: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided score interval for the change in accuracy; (-1, 1) if n is 0."""
    low, high = intervals(np.array([b]), np.array([c]), np.array([n]), confidence)
    return float(low[0]), float(high[0])


def intervals(
    b_K: Counts, c_K: Counts, n_K: Counts, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return the ends of many `interval`s."""
    z = quantile((1 + confidence) / 2)
    targets = np.array([[z], [-z]])
    low, high = np.full((2, len(n_K)), -1.0), np.full((2, len(n_K)), 1.0)
    n_or_1 = np.maximum(n_K, 1)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_below = tango_z(b_K, c_K, n_or_1, middle) > targets
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    is_judged = np.asarray(n_K) > 0
    return np.where(is_judged, low[0], -1.0), np.where(is_judged, high[1], 1.0)


def wilson(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval for an accuracy; (0, 1) if n is 0.

    Wilson E. B. (1927), "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22:209-212.
    """
    if n == 0:
        return 0.0, 1.0
    z2 = quantile((1 + confidence) / 2) ** 2
    middle = (right + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (right * (n - right) / n + z2 / 4)) / (n + z2)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions on the same n examples. `low` and `high` are the interval of the change."""

    n: int
    b: int
    c: int
    champion_right: int
    challenger_right: int
    low: float
    high: float

    @property
    def champion_accuracy(self) -> float:
        return self.champion_right / max(self.n, 1)

    @property
    def challenger_accuracy(self) -> float:
        return self.challenger_right / max(self.n, 1)

    @property
    def change(self) -> float:
        return (self.b - self.c) / max(self.n, 1)

    @property
    def mcnemar_p(self) -> float:
        return float(mcnemar_p(self.b, self.c))


def compare(
    champion_correct_N: Bools, challenger_correct_N: Bools, confidence: float = 0.95
) -> Comparison:
    n = len(champion_correct_N)
    b = int(np.count_nonzero(challenger_correct_N & ~champion_correct_N))
    c = int(np.count_nonzero(champion_correct_N & ~challenger_correct_N))
    right = int(np.count_nonzero(champion_correct_N))
    return Comparison(n, b, c, right, right + b - c, *interval(b, c, n, confidence))


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Per class: examples judged, right before (champion) and after (challenger), and flips."""

    n_K: Ints
    before_K: Ints
    after_K: Ints
    b_K: Ints
    c_K: Ints


def count_classes(
    label_N: NDArray[np.integer[Any]],
    champion_correct_N: Bools,
    challenger_correct_N: Bools,
    num_classes: int,
) -> ClassCounts:
    before, after = champion_correct_N, challenger_correct_N
    masks = (before | True, before, after, after & ~before, before & ~after)
    return ClassCounts(*(np.bincount(label_N[mask], minlength=num_classes) for mask in masks))
