"""What a row of swaps did to the requests: the figures of `bench.swap`, as pure functions.

A cycle is one swap, from when it was asked for until a moment after it, and the quiet time that
follows. N cycles.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.shots import OK, Shot, percentile

# How exactly two processes can agree on the moment of an activation.
_CLOCK_S = 0.02


@dataclass(frozen=True, slots=True)
class Cycle:
    """Times are of `time.monotonic`."""

    version: int
    asked_at: float
    activate_at: float
    # The swap counts until here, and the quiet time after it until `ended_at`.
    settled_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Parts:
    """The requests of one cycle, by when they were due. Not by when they were under way: a slow
    request touches more windows, and would count in the shorter one more often."""

    during: list[Shot]
    between: list[Shot]


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def split(shots: Sequence[Shot], cycles: Sequence[Cycle]) -> list[Parts]:
    ordered = sorted(shots)
    due = [shot.due for shot in ordered]

    def within(begin: float, end: float) -> list[Shot]:
        return ordered[bisect.bisect_left(due, begin) : bisect.bisect_left(due, end)]

    return [
        Parts(within(c.asked_at, c.settled_at), within(c.settled_at, c.ended_at)) for c in cycles
    ]


def p99_ratio(parts: Sequence[Parts], *, num_draws: int = 400, seed: int = 0) -> Estimate:
    """The p99 during swaps over the p99 between them, with a 95 % interval: whole cycles are drawn
    again, as neighbouring requests wait for each other."""
    during = [[s.latency_s for s in part.during if s.kind == OK] for part in parts]
    between = [[s.latency_s for s in part.between if s.kind == OK] for part in parts]

    def ratio(drawn: Sequence[int]) -> float:
        one, other = (
            percentile(sorted(value for i in drawn for value in groups[i]), 0.99)
            for groups in (during, between)
        )
        return one / other

    rng = np.random.default_rng(seed)
    draws = [ratio(rng.integers(0, len(parts), len(parts)).tolist()) for _ in range(num_draws)]
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return Estimate(ratio(range(len(parts))), float(low), float(high))


def slope(values: Sequence[float]) -> tuple[float, float]:
    """Least squares over the index: the change per 1,000 cycles, and its standard error."""
    y_N = np.asarray(values, np.float64)
    x_N = np.arange(len(y_N), dtype=np.float64)
    keep_N = np.isfinite(y_N)
    x_N, y_N = x_N[keep_N] - x_N[keep_N].mean(), y_N[keep_N]
    spread = float((x_N**2).sum())
    steepness = float((x_N * y_N).sum()) / spread
    rest_N = y_N - y_N.mean() - steepness * x_N
    error = float(np.sqrt((rest_N**2).sum() / max(1, len(y_N) - 2) / spread))
    return 1000 * steepness, 1000 * error


def growth(values: Sequence[float]) -> float:
    """From the first tenth to the last, by their medians."""
    tenth = max(1, len(values) // 10)
    return float(np.median(values[-tenth:]) - np.median(values[:tenth]))


def old_after_new(shots: Sequence[Shot], activations: Sequence[tuple[float, int]]) -> int:
    """How many requests, sent after a client had seen the answer of an activation, were answered by
    the version of an earlier one. `activations`: (moment, version), in order."""
    moments: dict[int, list[tuple[float, int]]] = {}
    for step, (moment, version) in enumerate(activations):
        moments.setdefault(version, []).append((moment, step))

    def step_of(shot: Shot) -> int:
        """A version comes again: the newest activation of it that the answer can be of."""
        known = moments.get(shot.version, [])
        at = bisect.bisect_right(known, (shot.done + _CLOCK_S, len(activations)))
        return known[at - 1][1] if at else -1

    answered = [(shot, step_of(shot)) for shot in shots if shot.kind == OK]
    by_done = sorted((shot.done, step) for shot, step in answered)
    seen, at, found = -1, 0, 0
    for shot, step in sorted(answered, key=lambda one: one[0].sent):
        while at < len(by_done) and by_done[at][0] < shot.sent:
            seen = max(seen, by_done[at][1])
            at += 1
        found += step < seen
    return found
