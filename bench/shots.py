"""What became of the requests of a load, and the figures that are drawn from them."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# What becomes of a request. Refused with 503 it is shed, which is not a failure: it was told at
# once, and when to come again.
OK, SHED, STATUS, RESET, TIMEOUT = "ok", "shed", "status", "reset", "timeout"
FAILURES = (STATUS, RESET, TIMEOUT)


class Shot(NamedTuple):
    """One request. Times are of `time.monotonic`, which all processes of a machine share."""

    # When it was meant to go out. Latency counts from here, also when it had to wait for its turn:
    # otherwise a stalled server would be asked less while it stalls, and look better for it
    # (coordinated omission; Gil Tene, "How NOT to Measure Latency", and his wrk2).
    due: float
    sent: float
    done: float
    kind: str
    status: int
    worker: int
    version: int

    @property
    def latency_s(self) -> float:
        return self.done - self.due


@dataclass(frozen=True, slots=True)
class Load:
    shots: list[Shot]
    # What is before is warming up, and what is after is only waited for.
    began: float
    ended: float
    # What the generator itself took of the processor.
    generator_cpu_s: float
    # The last percentile of how late it sent what nothing but itself held back.
    generator_late_s: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Summary:
    sent: int
    # Answers with 200 a second.
    throughput: float
    p50_ms: float
    p99_ms: float
    failures: dict[str, int]
    shed: int
    by_worker: dict[int, int]

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def fairness(self, num_workers: int) -> float:
        """Answers of the least used worker over those of the most used: 1 is fair, and 0 is a
        worker that got none. NaN where answers do not tell who gave them."""
        counts = sorted(self.by_worker.values())
        if not counts:
            return math.nan
        return counts[0] / counts[-1] if len(counts) >= num_workers else 0.0


def summary(load: Load) -> Summary:
    """Of the requests that were due while it was measured."""
    return summarise(
        [shot for shot in load.shots if load.began <= shot.due < load.ended], load.seconds
    )


def summarise(shots: Sequence[Shot], seconds: float) -> Summary:
    answered = [shot for shot in shots if shot.kind == OK]
    latencies = sorted(shot.latency_s for shot in answered)
    counts = Counter(shot.kind for shot in shots)
    return Summary(
        sent=len(shots),
        throughput=len(answered) / seconds,
        p50_ms=1000 * percentile(latencies, 0.5),
        p99_ms=1000 * percentile(latencies, 0.99),
        failures={kind: counts[kind] for kind in FAILURES if counts[kind]},
        shed=counts[SHED],
        by_worker=dict(Counter(shot.worker for shot in answered if shot.worker)),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed (nearest rank); NaN of none."""
    if not ordered:
        return math.nan
    # Rounded: 0.99 * 100 is a little more than 99.
    return ordered[max(0, math.ceil(round(share * len(ordered), 9)) - 1)]


def goodput(load: Load, within_s: float) -> float:
    """Answers with 200 a second that came in time."""
    in_time = (
        shot.kind == OK and load.began <= shot.due < load.ended and shot.latency_s <= within_s
        for shot in load.shots
    )
    return sum(in_time) / load.seconds


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """A Poisson process: seconds from the start, in order, the same for the same seed."""
    rng = random.Random(seed)
    at = rng.expovariate(rate)
    while at < seconds:
        yield at
        at += rng.expovariate(rate)
