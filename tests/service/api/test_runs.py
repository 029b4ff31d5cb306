from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from core import leases
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.settings import Settings
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem, trained_home
from tests.support import images

# Trains real models: not in `make check`.
pytestmark = pytest.mark.slow

OWNER = "trainer-of-this-test"
WITHIN_S = 20.0


def store_of(client: TestClient) -> Any:
    serving: ServingProcess = client.app.state.serving  # type: ignore[attr-defined]
    return serving.store


def label(client: TestClient, name: str, seed: int) -> None:
    image = images.png(48, 48, seed)
    intake.label_image(store_of(client), image, LabelRequest(name), Limits(), time.time())


@pytest.fixture
def labelled(fresh: TestClient) -> TestClient:
    """Enough labels to train on, and no trainer."""
    for seed in range(4):
        label(fresh, ("cat", "dog")[seed % 2], seed)
    return fresh


def request(client: TestClient) -> dict[str, Any]:
    response = client.post("/v1/retrain")
    assert response.status_code == 202, response.text
    body: dict[str, Any] = response.json()
    return body


def claim(client: TestClient) -> None:
    with store_of(client).db.write() as conn:
        assert leases.claim(conn, OWNER, time.time()) is not None


def beat(client: TestClient, run_id: str, step: str, progress: float) -> None:
    with store_of(client).db.write() as conn:
        assert leases.beat(conn, run_id, OWNER, time.time(), step, progress)


def finish(client: TestClient, run_id: str, **fields: Any) -> None:
    with store_of(client).db.write() as conn:
        assert leases.finish(conn, run_id, OWNER, now=time.time(), **fields)


def events_of(client: TestClient, run_id: str) -> list[tuple[str, dict[str, Any]]]:
    response = client.get(f"/v1/runs/{run_id}/events")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_retrain_without_labels_says_what_is_missing(fresh: TestClient) -> None:
    response = fresh.post("/v1/retrain")
    assert_problem.problem(
        response, 409, "not-enough-labels", "nothing is labelled", "2 classes", "/v1/feedback"
    )
    assert fresh.get("/v1/runs").json() == {"runs": []}


def test_retrain_with_one_class_says_what_is_missing(fresh: TestClient) -> None:
    for seed in range(3):
        label(fresh, "cat", seed)
    response = fresh.post("/v1/retrain")
    assert_problem.problem(
        response, 409, "not-enough-labels", "'cat': 3", "2 classes", "another class"
    )


def test_retrain_with_one_image_of_a_class_says_what_is_missing(fresh: TestClient) -> None:
    for seed, name in enumerate(("cat", "cat", "dog")):
        label(fresh, name, seed)
    response = fresh.post("/v1/retrain")
    assert_problem.problem(
        response, 409, "not-enough-labels", "'cat': 2, 'dog': 1", "2 examples each"
    )


def test_retrain_is_accepted_with_a_location(labelled: TestClient) -> None:
    response = labelled.post("/v1/retrain")
    assert response.status_code == 202
    run = response.json()
    assert (run["state"], run["trigger"], run["progress"]) == ("waiting", "request", 0)
    assert response.headers["location"] == f"/v1/runs/{run['id']}"
    assert labelled.get(response.headers["location"]).json() == run
    assert labelled.get("/v1/runs").json() == {"runs": [run]}


def test_second_request_returns_the_waiting_run(labelled: TestClient) -> None:
    assert request(labelled)["id"] == request(labelled)["id"]


def test_request_during_a_run_waits_behind_it(labelled: TestClient) -> None:
    first = request(labelled)["id"]
    claim(labelled)
    second, third = request(labelled)["id"], request(labelled)["id"]
    assert first != second == third
    newest_first = [run["id"] for run in labelled.get("/v1/runs").json()["runs"]]
    assert newest_first == [second, first]
    assert len(labelled.get("/v1/runs?limit=1").json()["runs"]) == 1


def test_waiting_run_is_cancelled_immediately(labelled: TestClient) -> None:
    run_id = request(labelled)["id"]
    response = labelled.delete(f"/v1/runs/{run_id}")
    assert response.status_code == 202
    assert response.json()["state"] == "cancelled"
    assert request(labelled)["id"] != run_id


def test_running_run_is_requested_to_stop(labelled: TestClient) -> None:
    run_id = request(labelled)["id"]
    claim(labelled)
    assert labelled.delete(f"/v1/runs/{run_id}").json()["state"] == "running"
    with store_of(labelled).db.write() as conn:
        assert not leases.beat(conn, run_id, OWNER, time.time(), "training", 0.5)


def test_finished_run_cannot_be_cancelled(labelled: TestClient) -> None:
    run_id = request(labelled)["id"]
    labelled.delete(f"/v1/runs/{run_id}")
    response = labelled.delete(f"/v1/runs/{run_id}")
    assert_problem.problem(response, 409, "run-finished", run_id, "already cancelled")


@pytest.mark.parametrize("run_id", ["nope", "%00", "x" * 500])
@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("DELETE", ""), ("GET", "/events")])
def test_unknown_run_is_not_found(client: TestClient, method: str, tail: str, run_id: str) -> None:
    response = client.request(method, f"/v1/runs/{run_id}{tail}")
    assert_problem.problem(response, 404, "unknown-run", "does not exist", "/v1/runs lists them")


def test_events_follow_a_run_to_its_end(labelled: TestClient) -> None:
    run_id = request(labelled)["id"]
    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(events_of, labelled, run_id)
        for step in (
            lambda: claim(labelled),
            lambda: beat(labelled, run_id, "embedding", 0.25),
            lambda: beat(labelled, run_id, "embedding", 0.5),
            lambda: finish(labelled, run_id, state="failed", error="the disk is full"),
        ):
            time.sleep(0.3)  # it polls every 0.2 s
            step()
        found = followed.result(WITHIN_S)
    assert [name for name, _ in found] == ["progress"] * 4 + ["end"]
    shown = [(run["state"], run["step"], run["progress"]) for _, run in found]
    assert shown == [
        ("waiting", "waiting", 0.0),
        ("running", "starting", 0.0),
        ("running", "embedding", 0.25),
        ("running", "embedding", 0.5),
        ("failed", "failed", 0.5),
    ]
    assert found[-1][1]["error"] == "the disk is full"


def test_events_of_a_finished_run_are_its_end(labelled: TestClient) -> None:
    run_id = request(labelled)["id"]
    run = labelled.delete(f"/v1/runs/{run_id}").json()
    assert events_of(labelled, run_id) == [("end", run)]


def test_events_of_a_real_run_end_with_the_promotion(fresh: TestClient, settings: Settings) -> None:
    trained_home.label_some(store_of(fresh))
    run_id = request(fresh)["id"]
    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(events_of, fresh, run_id)
        with trained_home.running_trainer(settings):
            found = followed.result(WITHIN_S)
    name, run = found[-1]
    assert (name, run["state"], run["outcome"], run["version"]) == (
        "end",
        "finished",
        "promoted",
        2,
    )
    assert {name for name, _ in found[:-1]} == {"progress"}
    progress = [run["progress"] for _, run in found]
    assert progress == sorted(progress)
    image = trained_home.tinted("red", 77)
    answer = fresh.post("/v1/predict", content=image, headers={"Content-Type": "image/png"}).json()
    assert (answer["version"], answer["label"]) == (2, "red")
