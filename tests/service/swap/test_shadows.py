"""The shadows of a serving process: which versions they are, and what is stored of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.errors import StoreError
from core.models.manifest import Manifest
from core.registry import promotions, versions
from core.settings import Settings
from core.shadows import answers
from service.inference.serving_process import ServingProcess
from tests.service.conftest import client_of
from tests.service.trained_home import tinted
from tests.support import tiny
from tests.support.wait import wait_until

# Waits in real time: not in `make check`.
pytestmark = pytest.mark.slow

PNG = {"Content-Type": "image/png"}
HELD_BACK = {"promote": False, "reason": "held back: no better"}

Start = Callable[..., ServingProcess]


@pytest.fixture
def home(copy_trained_home: Callable[[Path], Settings], tmp_path: Path) -> Settings:
    """Version 2 is the champion, and version 1 was the one before. They share a backbone."""
    return copy_trained_home(tmp_path / "home")


@pytest.fixture
def start(home: Settings) -> Iterator[Start]:
    started: list[ServingProcess] = []

    def start_one(**fields: Any) -> ServingProcess:
        serving = ServingProcess.start(home.model_copy(update=fields))
        started.append(serving)
        return serving

    yield start_one
    for serving in started:
        serving.stop()


def shadowing(serving: ServingProcess) -> list[int]:
    return [servable.version for servable in serving.swap.shadows.current]


def manifest_of(serving: ServingProcess, number: int) -> Manifest:
    with serving.store.db.read() as conn:
        version = versions.get(conn, number)
    return replace(
        versions.read_manifest(version, serving.store), run_id=None, created_at=time.time()
    )


def post(client: TestClient, seed: int = 0, query: str = "") -> Any:
    response = client.post(f"/v1/predict{query}", content=tinted("red", 500 + seed), headers=PNG)
    assert response.status_code == 200, response.text
    return response.json()


def score(client: TestClient, number: int) -> Any:
    return client.get(f"/v1/versions/{number}").json()["shadow"]


def test_version_before_shadows_the_champion_and_is_scored_once_labels_arrive(
    start: Start,
) -> None:
    serving = start()
    wait_until(lambda: shadowing(serving) == [1])
    with client_of(serving) as client:
        assert score(client, 1) is None
        given = [post(client, seed) for seed in range(4)]
        assert [answer["label"] for answer in given] == ["red"] * 4
        wait_until(lambda: (score(client, 1) or {}).get("answers") == 4)
        # It knows neither colour, so it can only disagree.
        assert score(client, 1) == {
            "answers": 4,
            "agreement": 0.0,
            "labelled": 0,
            "accuracy": None,
            "champion_accuracy": None,
        }
        for answer, label in zip(given, ("red", "red", "red", "blue"), strict=True):
            body = {"prediction_id": answer["prediction_id"], "label": label}
            assert client.post("/v1/feedback", json=body).status_code == 201
        found = score(client, 1)
        assert (found["labelled"], found["accuracy"], found["champion_accuracy"]) == (4, 0.0, 0.75)
        text = client.get("/metrics").text
        for line in (
            'evergreen_shadow_answers_total{version="1"} 4.0',
            'evergreen_shadow_agreements_total{version="1"} 0.0',
            'evergreen_shadow_labelled{version="1"} 4.0',
            'evergreen_shadow_right{version="1"} 0.0',
            'evergreen_shadow_champion_right{version="1"} 3.0',
        ):
            assert line in text


def test_shadow_answer_equals_the_prediction_of_the_pinned_version(start: Start) -> None:
    serving = start()
    wait_until(lambda: shadowing(serving) == [1])
    with client_of(serving) as client:
        primary, pinned = post(client), post(client, query="?version=1")
        wait_until(lambda: (score(client, 1) or {}).get("answers") == 1)
        with serving.store.db.read() as conn:
            rows = conn.exec_driver_sql("SELECT prediction_id, version, label FROM shadow_answers")
            # A pinned prediction is not the champion's, so nothing shadows it.
            assert [tuple(row) for row in rows] == [(primary["prediction_id"], 1, pinned["label"])]


def test_held_back_challenger_shadows_without_a_restart(start: Start) -> None:
    serving = start()
    wait_until(lambda: shadowing(serving) == [1])
    number = tiny.publish(serving.store, manifest_of(serving, 2), HELD_BACK)
    wait_until(lambda: shadowing(serving) == [1, number])
    with client_of(serving) as client:
        post(client)
        wait_until(lambda: (score(client, number) or {}).get("agreement") == 1.0)


def test_rollback_to_the_version_before_loads_nothing(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    serving = start()
    wait_until(lambda: shadowing(serving) == [1])
    with caplog.at_level(logging.INFO), serving.store.db.write() as conn:
        promotions.request(conn, 1, who="test", why="test", now=time.time())
    wait_until(lambda: serving.slot.version == 1)
    assert "version.loaded" not in caplog.text
    wait_until(lambda: serving.swap.loaded.numbers == (1,))  # the version that was left
    assert shadowing(serving) == []


def test_shadow_that_cannot_be_loaded_is_logged_once_and_not_retried(
    start: Start, home: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    serving = start()
    manifest = replace(manifest_of(serving, 2), head="0" * 64)
    with caplog.at_level(logging.WARNING):
        number = tiny.publish(serving.store, manifest, HELD_BACK)
        other = tiny.publish(serving.store, manifest_of(serving, 2), HELD_BACK)
        wait_until(lambda: other in shadowing(serving))
        wait_until(lambda: "shadow.skipped" in caplog.text)
        tiny.publish(serving.store, manifest_of(serving, 2), HELD_BACK)  # shadows are selected anew
        wait_until(lambda: len(shadowing(serving)) == 3)
    skipped = [r for r in caplog.records if r.message == "shadow.skipped"]
    assert [r.version for r in skipped] == [number]  # type: ignore[attr-defined]


def test_named_version_with_another_backbone_is_logged_and_does_not_shadow(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    first = start()
    number = tiny.publish(first.store, tiny.make_manifest(first.store.blobs))
    with caplog.at_level(logging.WARNING):
        serving = start(shadow_versions=(number, 77))
        wait_until(lambda: shadowing(serving) == [1])
    assert number not in serving.swap.loaded
    reasons = {r.version: r.reason for r in caplog.records if r.message == "shadow.skipped"}  # type: ignore[attr-defined]
    assert reasons.keys() == {number, 77}
    assert "another backbone" in reasons[number]


def test_prediction_succeeds_although_shadow_answers_cannot_be_written(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serving = start()
    wait_until(lambda: shadowing(serving) == [1])

    def broken(*_: object) -> None:
        raise StoreError("the disk is full")

    with client_of(serving) as client:
        with monkeypatch.context() as patched:
            patched.setattr(answers, "add", broken)
            post(client)
            wait_until(lambda: "shadow.not_recorded" in caplog.text)
        post(client)
        wait_until(lambda: (score(client, 1) or {}).get("answers") == 1)


def test_queued_shadow_answers_are_written_before_the_end(start: Start) -> None:
    serving = start()
    wait_until(lambda: shadowing(serving) == [1])
    with client_of(serving) as client:
        post(client)
        serving.predictor._shadow_recorder.stop()
        assert score(client, 1)["answers"] == 1
