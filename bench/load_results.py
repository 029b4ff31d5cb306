"""The results of a load: one record per request, and the figures computed from them."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# The outcome of a request. A rejection with 503 is not a failure, because it comes immediately and
# says when to retry.
OK, SHED, STATUS, RESET, TIMEOUT = "ok", "shed", "status", "reset", "timeout"
FAILURES = (STATUS, RESET, TIMEOUT)


class RequestResult(NamedTuple):
    """One request. Times are from `time.monotonic`, which all processes of a machine share."""

    # When it was scheduled. Latency counts from here, so that a stalled server is charged for the
    # requests that it delays (coordinated omission: Gil Tene, "How NOT to Measure Latency", wrk2).
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
class LoadResult:
    results: list[RequestResult]
    # Requests due before `began` are warm-up. Those due after `ended` do not count either.
    began: float
    ended: float
    # CPU time of the load generator.
    generator_cpu_s: float
    # 99th percentile of the delay that the generator itself caused in an open loop.
    generator_late_s: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def measured(self) -> list[RequestResult]:
        """Return the requests that were due between `began` and `ended`."""
        return [result for result in self.results if self.began <= result.due < self.ended]


@dataclass(frozen=True, slots=True)
class Summary:
    sent: int
    # Answers with status 200 per second.
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
        """Return the answers of the least used worker divided by those of the most used one.

        0 if a worker gave none, NaN if answers do not name their worker.
        """
        counts = sorted(self.by_worker.values())
        if not counts:
            return math.nan
        return counts[0] / counts[-1] if len(counts) >= num_workers else 0.0


def summarise_load(load: LoadResult) -> Summary:
    """Summarise the requests that were due between `began` and `ended`."""
    return summarise(load.measured(), load.seconds)


def summarise_loads(loads: Sequence[LoadResult]) -> Summary:
    """Summarise the requests of several loads together."""
    results = [result for load in loads for result in load.measured()]
    return summarise(results, sum(load.seconds for load in loads))


def summarise(results: Sequence[RequestResult], seconds: float) -> Summary:
    answered = [result for result in results if result.kind == OK]
    latencies = sorted(result.latency_s for result in answered)
    counts = Counter(result.kind for result in results)
    return Summary(
        sent=len(results),
        throughput=len(answered) / seconds,
        p50_ms=1000 * percentile(latencies, 0.5),
        p99_ms=1000 * percentile(latencies, 0.99),
        failures={kind: counts[kind] for kind in FAILURES if counts[kind]},
        shed=counts[SHED],
        by_worker=dict(Counter(result.worker for result in answered if result.worker)),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the percentile of sorted values by nearest rank, NaN without values."""
    if not ordered:
        return math.nan
    # Rounded, because 0.99 * 100 is slightly more than 99 in floating point.
    return ordered[max(0, math.ceil(round(share * len(ordered), 9)) - 1)]


def goodput(load: LoadResult, within_s: float) -> float:
    """Return the answers with status 200 within the time limit, per second."""
    in_time = (r.kind == OK and r.latency_s <= within_s for r in load.measured())
    return sum(in_time) / load.seconds


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Yield the arrivals of a Poisson process, in seconds from the start."""
    rng = random.Random(seed)
    at = rng.expovariate(rate)
    while at < seconds:
        yield at
        at += rng.expovariate(rate)
