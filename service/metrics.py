"""Prometheus metrics. Counted here: what each process sees. Read from the database when scraped:
what is true of the whole installation, whichever process is asked.

Labels are bounded: route templates, not paths. Under `bentoml serve` the client library adds up the
processes through files (PROMETHEUS_MULTIPROC_DIR).
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from core import runs
from core.errors import StoreError
from core.labelling import labels
from core.registry import activations, promotions, workers
from core.store.schema import runs as runs_table
from core.store.store import Store
from service import shadow_metrics

requests = Counter("evergreen_requests", "Requests answered.", ["route", "method", "status"])
request_seconds = Histogram(
    "evergreen_request_seconds",
    "Time from the first byte of a request to the last of its answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
predictions = Counter("evergreen_predictions", "Predictions answered.")
abstentions = Counter("evergreen_abstentions", "Predictions answered that abstain.")
shed = Counter("evergreen_shed", "Predictions refused because too many were in work.")
deadlines_exceeded = Counter(
    "evergreen_deadlines_exceeded",
    "Images whose request's time was over before they were looked at.",
)
batch_size = Histogram(
    "evergreen_batch_size",
    "Images that went through the model together, where batching is on.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
forwarded = Counter(
    "evergreen_forwarded_predictions",
    "Predictions made by a less busy worker than the one that the client is connected to.",
)
swap_seconds = Histogram(
    "evergreen_swap_seconds",
    "Time from a worker seeing a promotion to its answering with the version.",
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
swap_failures = Counter("evergreen_swap_failures", "Versions that a worker could not load.")
label_to_live_seconds = Histogram(
    "evergreen_label_to_live_seconds",
    "Time from a label's acknowledgement to every worker answering with a version trained on it.",
    buckets=(0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 86400.0),
)

# Labels are looked up under a lock, and these are few.
_requests_of = functools.cache(requests.labels)
_seconds_of = functools.cache(request_seconds.labels)

_RUN_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)


def count(route: str, method: str, status: int, seconds: float) -> None:
    """A request that was answered; all three are from small sets."""
    _requests_of(route, method, str(status)).inc()
    _seconds_of(route).observe(seconds)


def render(store: Store) -> bytes:
    """The text format: all processes of this machine together, and the database's facts."""
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        text = generate_latest(registry)
    else:
        text = generate_latest(REGISTRY)
    facts = CollectorRegistry(auto_describe=False)
    facts.register(_Facts(store))
    return text + generate_latest(facts)


class _Facts(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not ask the database."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        try:
            facts = list(self._collect())
        except StoreError:
            facts = []  # what the processes have counted is known all the same
        yield GaugeMetricFamily(
            "evergreen_database_up", "1 if the database answers, else 0.", float(bool(facts))
        )
        yield from facts

    def _collect(self) -> Iterator[Metric]:
        now = time.time()
        with self._store.db.read() as conn:
            activation = promotions.newest_activation(conn)
            serving = workers.live(conn, now, "serving")
            trainers = workers.live(conn, now, "trainer")
            waiting, oldest, _ = labels.count_after(conn, runs.newest_snapshot(conn))
            num_healed = activations.count_by(conn, promotions.SELF_HEALING)
            shadows = list(shadow_metrics.families(conn, activation))
            ended = conn.execute(
                select(
                    func.coalesce(runs_table.c.outcome, runs_table.c.state),
                    runs_table.c.finished_at - runs_table.c.started_at,
                ).where(runs_table.c.finished_at.is_not(None))
            ).all()
        yield GaugeMetricFamily(
            "evergreen_live_version",
            "The champion.",
            activation.version if activation else 0,
        )
        yield GaugeMetricFamily(
            "evergreen_workers_behind",
            "Live serving processes that answer with another version than the champion.",
            sum(1 for w in serving if activation and w.version != activation.version),
        )
        yield GaugeMetricFamily("evergreen_workers", "Live serving processes.", len(serving))
        yield GaugeMetricFamily("evergreen_trainers", "Live trainers.", len(trainers))
        yield GaugeMetricFamily(
            "evergreen_labels_waiting", "Labels that no finished run has seen.", waiting
        )
        yield GaugeMetricFamily(
            "evergreen_labels_waiting_seconds",
            "Age of the oldest label that no finished run has seen.",
            now - oldest if oldest is not None else 0.0,
        )
        yield CounterMetricFamily(
            "evergreen_self_healing",
            "Rollbacks by itself, because labels showed that the version before was better.",
            num_healed,
        )
        yield from shadows
        yield from _run_metrics([(str(o), float(s) if s is not None else 0.0) for o, s in ended])


def _run_metrics(ended: list[tuple[str, float]]) -> Iterator[Metric]:
    outcomes = CounterMetricFamily(
        "evergreen_runs", "Runs that have ended, by outcome.", labels=["outcome"]
    )
    seconds = HistogramMetricFamily(
        "evergreen_run_seconds", "Time from the start of a run to its end.", labels=["outcome"]
    )
    for outcome in ("promoted", "held-back", "failed", "cancelled"):
        durations = [duration for found, duration in ended if found == outcome]
        outcomes.add_metric([outcome], len(durations))
        buckets = [
            (str(limit), float(sum(duration <= limit for duration in durations)))
            for limit in _RUN_BUCKETS
        ]
        seconds.add_metric([outcome], [*buckets, ("+Inf", float(len(durations)))], sum(durations))
    yield outcomes
    yield seconds
