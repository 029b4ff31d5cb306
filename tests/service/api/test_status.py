from __future__ import annotations

import os
import time

import pytest
from starlette.testclient import TestClient

from core import leases
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.retention import storage
from core.retention.storage import Use
from service.api.app import create_app
from tests.service import assert_problem, trained_home
from tests.service.conftest import local_client, settings_in
from tests.service.trained_home import start_with_the_starter
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def store_of(client: TestClient):
    return client.app.state.serving.store


def test_status_of_a_new_installation_shows_version_1_and_no_labels(fresh: TestClient) -> None:
    status = fresh.get("/v1/status").json()
    assert (status["version"], status["classes"], status["trainers"]) == (1, 200, 0)
    assert status["answered_by"] == os.getpid()
    assert status["labels"]["waiting"] == 0
    assert status["labels"]["oldest_waiting"] is None
    assert "nothing is labelled" in status["labels"]["missing"]
    assert (status["runs"], status["last_run"], status["promotion_waiting"]) == ([], None, None)


def test_status_lists_the_worker_that_responds(fresh: TestClient) -> None:
    (worker,) = fresh.get("/v1/status").json()["workers"]
    assert (worker["pid"], worker["version"], worker["ready"]) == (os.getpid(), 1, [1])
    assert worker["problems"] == []
    assert worker["provider"] == "CPUExecutionProvider"


def test_status_and_metrics_say_what_takes_how_much_room(fresh: TestClient) -> None:
    status = fresh.get("/v1/status").json()["storage"]
    assert status == {
        "measured_at": None,
        "kinds": {},
        "growth_bytes_per_day": None,
        "days_until_full": None,
    }
    for days, num_bytes in ((3, 10_000), (1, 30_000)):
        with store_of(fresh).db.write() as conn:
            uses = [Use("other-images", num_bytes, 7)]
            storage.record(conn, uses, time.time() - days * 86_400)
    status = fresh.get("/v1/status").json()["storage"]
    assert status["kinds"] == {"other-images": {"bytes": 30_000, "items": 7}}
    assert status["growth_bytes_per_day"] == pytest.approx(10_000)
    assert status["days_until_full"] > 0
    metrics = fresh.get("/metrics").text
    assert 'evergreen_storage_bytes{kind="other-images"} 30000.0' in metrics
    assert "\nevergreen_days_until_full " in metrics


def test_status_counts_labels_and_says_what_is_missing(fresh: TestClient) -> None:
    for seed in range(3):
        image = images.png(48, 48, seed)
        intake.label_image(store_of(fresh), image, LabelRequest("cat"), Limits(), time.time())
    found = fresh.get("/v1/status").json()["labels"]
    assert found["waiting"] == 3
    assert found["oldest_waiting"] is not None
    assert found["examples"] == {"cat": 3}
    assert "2 classes" in found["missing"]


def test_status_shows_waiting_runs_and_the_last_one(fresh: TestClient) -> None:
    trained_home.label_some(store_of(fresh), 4)
    run = fresh.post("/v1/retrain").json()
    status = fresh.get("/v1/status").json()
    assert (status["runs"], status["last_run"]) == ([run], None)
    assert status["labels"]["missing"] is None
    with store_of(fresh).db.write() as conn:
        leases.claim(conn, "owner", 1.0)
        leases.finish(conn, run["id"], "owner", state="failed", now=2.0, error="no reason")
    status = fresh.get("/v1/status").json()
    assert status["runs"] == []
    assert status["last_run"]["error"] == "no reason"


def test_labels_of_a_finished_run_no_longer_wait(trained_client: TestClient) -> None:
    status = trained_client.get("/v1/status").json()
    assert status["labels"]["waiting"] == 0
    assert sum(status["labels"]["examples"].values()) + status["labels"]["held_out"] == (
        2 * trained_home.NUM_OF_EACH
    )
    assert status["last_run"]["outcome"] == "promoted"


def test_every_response_before_the_start_is_not_ready(tmp_path) -> None:
    client = local_client(create_app(settings_in(tmp_path)))
    for path in ("/v1/status", "/metrics", "/v1/versions", "/v1/champion", "/v1/runs"):
        response = client.get(path)
        assert_problem.problem(response, 503, "not-ready", "try again")
        assert response.headers["retry-after"] == "1"


def test_stopped_worker_is_no_longer_listed(tmp_path) -> None:
    first, second = (start_with_the_starter(settings_in(tmp_path)) for _ in range(2))
    client = local_client(create_app(settings_in(tmp_path)))
    client.app.state.serving = second
    assert len(client.get("/v1/status").json()["workers"]) == 2
    first.stop()
    assert len(client.get("/v1/status").json()["workers"]) == 1
    second.stop()
