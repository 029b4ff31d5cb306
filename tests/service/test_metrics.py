from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, event, insert
from starlette.testclient import TestClient

from core import leases, runs
from core.errors import StoreError
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.store import run_tallies
from core.store.schema import runs as runs_table
from tests.support import concurrency, images

pytestmark = pytest.mark.slow  # not in `make check`

Key = tuple[str, frozenset[tuple[str, str]]]
JPEG = {"Content-Type": "image/jpeg"}
EVERY_ROUTE = (
    ("GET", "/v1/status", "/v1/status"),
    ("GET", "/v1/versions", "/v1/versions"),
    ("GET", "/v1/versions/1", "/v1/versions/{number}"),
    ("GET", "/v1/versions/77/model.onnx", "/v1/versions/{number}/model.onnx"),
    ("GET", "/v1/runs/abc", "/v1/runs/{run_id}"),
    ("DELETE", "/v1/runs/abc", "/v1/runs/{run_id}"),
    ("GET", "/v1/runs/abc/events", "/v1/runs/{run_id}/events"),
    ("DELETE", "/v1/feedback/5", "/v1/feedback/{feedback_id}"),
    ("POST", "/v1/predict?top=3", "/v1/predict"),
    ("GET", "/metrics", "/metrics"),
    ("GET", "/", "/"),
)


def parse(text: str) -> dict[Key, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(client: TestClient) -> dict[Key, float]:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return parse(response.text)


def value(samples: dict[Key, float], name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def added(before: dict[Key, float], after: dict[Key, float], name: str, **labels: str) -> float:
    return value(after, name, **labels) - value(before, name, **labels)


def test_predictions_are_counted(client: TestClient) -> None:
    before = scrape(client)
    for _ in range(3):
        client.post("/v1/predict", content=images.jpeg(), headers=JPEG)
    client.post("/v1/predict", content=b"nope", headers=JPEG)
    after = scrape(client)
    assert added(before, after, "evergreen_predictions_total") == 3
    for status, expected in (("200", 3), ("422", 1)):
        labels = {"route": "/v1/predict", "method": "POST", "status": status}
        assert added(before, after, "evergreen_requests_total", **labels) == expected
    name = "evergreen_request_seconds_count"
    assert added(before, after, name, route="/v1/predict") == 4


@pytest.mark.parametrize(("method", "path", "route"), EVERY_ROUTE)
def test_requests_are_counted_by_route_not_by_path(
    client: TestClient, method: str, path: str, route: str
) -> None:
    before = scrape(client)
    status = str(client.request(method, path).status_code)
    after = scrape(client)
    labels = {"route": route, "method": method, "status": status}
    # A scrape counts the requests before it.
    expected = 2 if path == "/metrics" else 1
    assert added(before, after, "evergreen_requests_total", **labels) == expected


@pytest.mark.slow
def test_random_urls_and_methods_add_no_series(client: TestClient) -> None:
    rng = random.Random(0)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW", "TRACE"]

    def visit(count: int) -> None:
        for i in range(count):
            path = f"/{rng.choice(['', 'v1/', 'v1/runs/', 'v2/'])}{rng.getrandbits(64):x}"
            client.request(methods[i % len(methods)], path)

    visit(60)
    scrape(client)  # itself a request: from now on counted
    before = scrape(client)
    visit(1000)
    after = scrape(client)
    assert after.keys() == before.keys()
    total = sum(after[key] - before[key] for key in after if key[0] == "evergreen_requests_total")
    assert total == 1001


def test_state_is_read_from_the_database(fresh: TestClient) -> None:
    samples = scrape(fresh)
    for name, expected in {
        "evergreen_live_version": 1,
        "evergreen_workers": 1,
        "evergreen_workers_behind": 0,
        "evergreen_trainers": 0,
        "evergreen_labels_waiting": 0,
        "evergreen_labels_waiting_seconds": 0,
    }.items():
        assert samples[name, frozenset()] == expected, name


def test_waiting_labels_and_their_age_are_shown(fresh: TestClient) -> None:
    store = fresh.app.state.serving.store  # type: ignore[attr-defined]
    request = LabelRequest("cat")
    intake.label_image(store, images.png(48, 48), request, Limits(), time.time() - 100)
    samples = scrape(fresh)
    assert samples["evergreen_labels_waiting", frozenset()] == 1
    assert samples["evergreen_labels_waiting_seconds", frozenset()] == pytest.approx(100, abs=20)


def test_runs_are_counted_by_outcome_with_their_durations(fresh: TestClient) -> None:
    store = fresh.app.state.serving.store  # type: ignore[attr-defined]
    endings = [("finished", "promoted", 0.7), ("finished", "promoted", 40), ("failed", None, 3)]
    for i, (state, outcome, seconds) in enumerate(endings):
        began = 1000.0 * (i + 1)
        with store.db.write() as conn:
            runs.request(conn, trigger="request", now=began)
            run = leases.claim(conn, "owner", began)
            assert run is not None
            now = began + seconds
            leases.finish(conn, run.id, "owner", state=state, outcome=outcome, now=now)
    samples = scrape(fresh)
    counted = {
        outcome: value(samples, "evergreen_runs_total", outcome=outcome)
        for outcome in ("promoted", "held-back", "failed", "cancelled")
    }
    assert counted == {"promoted": 2, "held-back": 0, "failed": 1, "cancelled": 0}
    assert value(samples, "evergreen_run_seconds_sum", outcome="promoted") == pytest.approx(40.7)
    for limit, expected in (("0.5", 0), ("1.0", 1), ("30.0", 1), ("60.0", 2), ("+Inf", 2)):
        name = "evergreen_run_seconds_bucket"
        assert value(samples, name, outcome="promoted", le=limit) == expected


BACKGROUND = {"swap", "heartbeat", "imports", "thumbnails", "spool"}


@pytest.mark.parametrize("path", ["/metrics", "/v1/status"])
def test_work_of_the_database_does_not_grow_with_the_runs(fresh: TestClient, path: str) -> None:
    db = fresh.app.state.serving.store.db  # type: ignore[attr-defined]
    num_steps = 0

    def step() -> int:
        nonlocal num_steps
        # Other threads poll meanwhile.
        num_steps += threading.current_thread().name not in BACKGROUND
        return 0

    event.listen(db._engine, "checkout", lambda conn, *_: conn.set_progress_handler(step, 1))

    def steps_with(num_runs: int) -> int:
        nonlocal num_steps
        with db.write() as conn:
            add_ended_runs(conn, num_runs)
        assert fresh.get(path).status_code == 200  # opens what it needs
        num_steps = 0
        assert fresh.get(path).status_code == 200
        return num_steps

    few = steps_with(10)
    assert few > 100
    assert abs(steps_with(5000) - few) < 50


def add_ended_runs(conn: Connection, number: int) -> None:
    run = {
        "trigger": "labels",
        "tier": "head",
        "state": "finished",
        "outcome": "held-back",
        "snapshot": 0,
        "parameters": {},
        "step": "finished",
        "progress": 1.0,
        "attempts": 1,
        "is_cancel_requested": False,
        "started_at": 1.0,
    }
    rows = [
        run | {"id": f"{number}-{i}", "created_at": float(i), "finished_at": float(i)}
        for i in range(number)
    ]
    conn.execute(insert(runs_table), rows)
    run_tallies.count(conn, "held-back", 1.0)


@pytest.mark.slow
def test_counters_of_two_processes_add_up(
    fresh: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    count = "metrics.predictions.inc(3)\nmetrics.request_seconds.labels('/x').observe(0.2)"
    concurrency.in_processes(2, "from service import metrics", count, **together)
    monkeypatch.setenv(*together.popitem())
    samples = scrape(fresh)
    assert samples["evergreen_predictions_total", frozenset()] == 6
    assert value(samples, "evergreen_request_seconds_count", route="/x") == 2
    assert value(samples, "evergreen_request_seconds_bucket", route="/x", le="0.1") == 0
    assert value(samples, "evergreen_request_seconds_bucket", route="/x", le="0.25") == 2
    assert samples["evergreen_live_version", frozenset()] == 1
    assert not [name for name, labels in samples if "pid" in dict(labels)]


def test_metrics_without_the_database_still_have_the_counters(
    fresh: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fresh.app.state.serving.store  # type: ignore[attr-defined]

    def gone(*_: object, **__: object) -> None:
        raise StoreError("the database is gone")

    assert "evergreen_database_up 1.0" in fresh.get("/metrics").text
    monkeypatch.setattr(type(store.db), "read", gone)
    text = fresh.get("/metrics").text
    assert "evergreen_database_up 0.0" in text
    assert "evergreen_requests_total" in text
    assert "evergreen_live_version" not in text
