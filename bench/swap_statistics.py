"""The statistics of `bench.swap`, as pure functions of requests and swaps.

A cycle is a swap, from its request until shortly after the switch, and the time without a swap that
follows. N cycles.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.load_results import OK, RequestResult, percentile

# Tolerance between two processes about the time of an activation.
_CLOCK_S = 0.02


@dataclass(frozen=True, slots=True)
class Cycle:
    """One swap and the time after it. Times are from `time.monotonic`."""

    version: int
    requested_at: float
    activate_at: float
    # The swap ends here, and the time without a swap at `ended_at`.
    settled_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Parts:
    """The requests of one cycle, by when they were due.

    Counting a request in all parts that it overlaps would add slow ones to the shorter part.
    """

    during: list[RequestResult]
    between: list[RequestResult]


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def split(results: Sequence[RequestResult], cycles: Sequence[Cycle]) -> list[Parts]:
    ordered = sorted(results)
    due = [result.due for result in ordered]

    def within(begin: float, end: float) -> list[RequestResult]:
        return ordered[bisect.bisect_left(due, begin) : bisect.bisect_left(due, end)]

    return [
        Parts(within(c.requested_at, c.settled_at), within(c.settled_at, c.ended_at))
        for c in cycles
    ]


def p99_ratio(parts: Sequence[Parts], *, num_draws: int = 400, seed: int = 0) -> Estimate:
    """Return the p99 during swaps divided by the p99 between them, with a 95 % interval.

    The bootstrap draws whole cycles, because neighbouring requests are correlated.
    """
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
    """Return the least-squares slope per 1,000 cycles, and its standard error. Skips NaN."""
    y_N = np.asarray(values, np.float64)
    x_N = np.arange(len(y_N), dtype=np.float64)
    keep_N = np.isfinite(y_N)
    x_N, y_N = x_N[keep_N] - x_N[keep_N].mean(), y_N[keep_N]
    spread = float((x_N**2).sum())
    steepness = float((x_N * y_N).sum()) / spread
    residual_N = y_N - y_N.mean() - steepness * x_N
    error = float(np.sqrt((residual_N**2).sum() / max(1, len(y_N) - 2) / spread))
    return 1000 * steepness, 1000 * error


def growth(values: Sequence[float]) -> float:
    """Return the median of the last tenth minus that of the first tenth."""
    tenth = max(1, len(values) // 10)
    return float(np.median(values[-tenth:]) - np.median(values[:tenth]))


def old_after_new(
    results: Sequence[RequestResult], activations: Sequence[tuple[float, int]]
) -> int:
    """Count the answers by an older version to requests sent after an answer by a newer one.

    `activations` are (time, version) in order. A version may be activated repeatedly.
    """
    steps_of: dict[int, list[tuple[float, int]]] = {}
    for step, (activated_at, version) in enumerate(activations):
        steps_of.setdefault(version, []).append((activated_at, step))

    def step_of(result: RequestResult) -> int:
        """Return the newest activation of the version that the answer can come from."""
        known = steps_of.get(result.version, [])
        at = bisect.bisect_right(known, (result.done + _CLOCK_S, len(activations)))
        return known[at - 1][1] if at else -1

    answered = [(result, step_of(result)) for result in results if result.kind == OK]
    by_done = sorted((result.done, step) for result, step in answered)
    newest_seen, at, num_old = -1, 0, 0
    for result, step in sorted(answered, key=lambda one: one[0].sent):
        while at < len(by_done) and by_done[at][0] < result.sent:
            newest_seen = max(newest_seen, by_done[at][1])
            at += 1
        num_old += step < newest_seen
    return num_old
