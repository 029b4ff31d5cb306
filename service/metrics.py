"""Prometheus metrics. Each process counts its own requests and predictions. The state of the whole
installation is read from the database at each scrape, so it is the same from any process.

Labels are bounded: route templates, not paths. Under `bentoml serve` the client library adds the
processes up through files (PROMETHEUS_MULTIPROC_DIR, `service/metric_files.py`).
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Iterator, Sequence

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

from core import runs
from core.doctor import degraded
from core.doctor.degraded import Degraded
from core.errors import StoreError
from core.labelling import labels, lost_images
from core.registry import activations, promotions, workers
from core.retention import storage
from core.store import run_tallies
from core.store.run_tallies import RunTally
from core.store.store import Store
from service import degraded_metrics, metric_files, shadow_metrics, storage_metrics
from service.degraded_metrics import Observer

metric_files.install()

requests = Counter(
    "evergreen_requests", "Requests that got a response.", ["route", "method", "status"]
)
request_seconds = Histogram(
    "evergreen_request_seconds",
    "Time from the first byte of a request to the last byte of its response.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
refused = Counter(
    "evergreen_refused_requests", "Requests refused for what their sender may do.", ["code"]
)
predictions = Counter("evergreen_predictions", "Predictions made for clients.")
spooled = Counter(
    "evergreen_spooled_predictions", "Predictions spooled, because the store could not take them."
)
not_kept = Counter(
    "evergreen_predictions_not_kept",
    "Predictions that neither the store nor the spool had room for.",
)
abstentions = Counter("evergreen_abstentions", "Predictions that abstain.")
unfamiliar = Counter(
    "evergreen_unfamiliar_predictions", "Predictions for inputs unlike everything labelled."
)
images_not_kept = Counter(
    "evergreen_images_not_kept",
    "Inputs of predictions that were not kept, by reason.",
    ["reason"],
)
shed = Counter("evergreen_shed", "Predictions rejected because too many were in flight.")
deadlines_exceeded = Counter(
    "evergreen_deadlines_exceeded",
    "Inputs whose deadline passed before work on them started.",
)
batch_size = Histogram(
    "evergreen_batch_size",
    "Inputs in a batch, where batching is on.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
forwarded = Counter(
    "evergreen_forwarded_predictions",
    "Predictions made by a less busy worker than the one that the client is connected to.",
)
swap_seconds = Histogram(
    "evergreen_swap_seconds",
    "Time from a worker's first sight of a promotion to its first prediction with the version.",
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
swap_failures = Counter("evergreen_swap_failures", "Versions that a worker could not load.")
label_to_live_seconds = Histogram(
    "evergreen_label_to_live_seconds",
    "Time from a label's acknowledgement until every worker predicts with a version trained on it.",
    buckets=(0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 86400.0),
)

# The client library takes a lock to find a label; there are few.
_requests_of = functools.cache(requests.labels)
_seconds_of = functools.cache(request_seconds.labels)


# As the text format writes the limit of a bucket.
_LIMIT = {limit: "+Inf" if math.isinf(limit) else str(limit) for limit in run_tallies.BUCKETS_S}


def count(route: str, method: str, status: int, seconds: float) -> None:
    """Count a request. Route, method and status are from small sets."""
    _requests_of(route, method, str(status)).inc()
    _seconds_of(route).observe(seconds)


def render(store: Store, spool: tuple[int, int], health: Observer | None = None) -> bytes:
    """Return the text format: the sum over the processes of this machine, and the state.

    `spool` has the number of spooled predictions of this machine, and their bytes. Without
    `health`, what is degraded is what the database tells.
    """
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR") and not metric_files.MetricFile.is_in_memory:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        text = generate_latest(registry)
    else:
        text = generate_latest(REGISTRY)
    state = CollectorRegistry(auto_describe=False)
    state.register(_State(store, spool, health))
    return text + generate_latest(state)


class _State(Collector):
    """The state of the installation, from the database."""

    def __init__(self, store: Store, spool: tuple[int, int], health: Observer | None) -> None:
        self._store = store
        self._spool = spool
        self._health = health

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: registration must not read the database."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        state: list[Metric] = []
        found: list[Degraded] | None = None
        with contextlib.suppress(StoreError):  # the counters of the processes are still rendered
            state, found = self._read() if self._health is None else self._health.read(self._read)
        yield degraded_metrics.family(
            (found or []) if self._health is None else self._health.degraded(found)
        )
        free = self._store.disk.measure()
        if free is not None:
            yield GaugeMetricFamily(
                "evergreen_disk_free_bytes", "Free disk below the blob folder.", float(free)
            )
        yield GaugeMetricFamily(
            "evergreen_database_up", "1 if the database can be read, else 0.", float(bool(state))
        )
        yield GaugeMetricFamily(
            "evergreen_clock_offset_seconds",
            "How far this machine's clock is ahead of the database's.",
            self._store.db.clock.offset.seconds,
        )
        yield GaugeMetricFamily(
            "evergreen_spool_predictions",
            "Predictions of this machine that wait for the store.",
            self._spool[0],
        )
        yield GaugeMetricFamily(
            "evergreen_spool_bytes", "Local disk that they take.", self._spool[1]
        )
        yield from state

    def _read(self) -> tuple[list[Metric], list[Degraded]]:
        state = list(self._collect())
        with self._store.db.read() as conn:
            return state, degraded.read(conn, self._store.db.clock())

    def _collect(self) -> Iterator[Metric]:
        now = self._store.db.clock()
        with self._store.db.read() as conn:
            activation = promotions.newest_activation(conn)
            serving = workers.live(conn, now, "serving")
            trainers = workers.live(conn, now, "trainer")
            waiting, oldest, _ = labels.count_after(conn, runs.newest_snapshot(conn))
            num_healed = activations.count_by(conn, promotions.SELF_HEALING)
            shadows = list(shadow_metrics.families(conn, activation))
            ended = run_tallies.read(conn)
            num_lost, _ = lost_images.count(conn)
            used = storage.read(conn)
        yield GaugeMetricFamily(
            "evergreen_live_version",
            "The champion.",
            activation.version if activation else 0,
        )
        yield GaugeMetricFamily(
            "evergreen_workers_behind",
            "Live serving processes that predict with another version than the champion.",
            sum(1 for w in serving if activation and w.version != activation.version),
        )
        yield GaugeMetricFamily("evergreen_workers", "Live serving processes.", len(serving))
        yield GaugeMetricFamily("evergreen_trainers", "Live trainers.", len(trainers))
        yield GaugeMetricFamily(
            "evergreen_labels_waiting", "Labels that no finished run has trained on.", waiting
        )
        yield GaugeMetricFamily(
            "evergreen_labels_waiting_seconds",
            "Age of the oldest label that no finished run has trained on.",
            now - oldest if oldest is not None else 0.0,
        )
        yield GaugeMetricFamily(
            "evergreen_lost_images", "Labelled inputs that are missing or damaged.", num_lost
        )
        yield CounterMetricFamily(
            "evergreen_self_healing",
            "Automatic rollbacks, because labels showed that the previous version was better.",
            num_healed,
        )
        yield from shadows
        yield from storage_metrics.families(used, self._store.disk.measure())
        yield from _run_metrics(ended)


def _run_metrics(ended: Sequence[RunTally]) -> Iterator[Metric]:
    outcomes = CounterMetricFamily(
        "evergreen_runs", "Runs that have ended, by outcome.", labels=["outcome"]
    )
    seconds = HistogramMetricFamily(
        "evergreen_run_seconds", "Time from the start of a run to its end.", labels=["outcome"]
    )
    for outcome in ("promoted", "held-back", "failed", "cancelled"):
        tallies = [tally for tally in ended if tally.outcome == outcome]
        outcomes.add_metric([outcome], sum(tally.runs for tally in tallies))
        buckets = [
            (_LIMIT[limit], float(sum(t.runs for t in tallies if t.at_most_s <= limit)))
            for limit in run_tallies.BUCKETS_S
        ]
        seconds.add_metric([outcome], buckets, sum(tally.seconds for tally in tallies))
    yield outcomes
    yield seconds
