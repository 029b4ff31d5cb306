"""The whole way: a bad version becomes champion, labels arrive, and the previous one returns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.registry import versions
from core.settings import Settings
from service.inference.serving_process import ServingProcess
from tests.service.conftest import client_of
from tests.service.trained_home import COLOURS, running_trainer, start_with_the_starter, tinted
from tests.support import tiny
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

# No run interferes: the test is about self-healing, not about the next training.
RECIPE = "[triggers]\nafter_labels = 0\nquiet_period_s = 0\nevery_s = 0\n"
PNG = {"Content-Type": "image/png"}


@pytest.fixture
def settings(copy_trained_home: Callable[[Path], Settings], tmp_path: Path) -> Settings:
    """Version 2, which distinguishes red and blue, is champion."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    home = copy_trained_home(tmp_path / "home")
    return home.model_copy(update={"recipe": tmp_path / "recipe.toml"})


def publish_swapped(serving: ServingProcess) -> int:
    """Publish version 2 with its classes swapped."""
    with serving.store.db.read() as conn:
        version = versions.get(conn, 2)
    manifest = versions.read_manifest(version, serving.store)
    swapped = tuple(reversed(manifest.classes))
    bad = replace(manifest, classes=swapped, run_id=None, parent=2, created_at=time.time())
    return tiny.publish(serving.store, bad)


def make_champion(client: TestClient, serving: ServingProcess, number: int) -> None:
    answered = client.put("/v1/champion", json={"version": number, "who": "a person"})
    assert answered.json()["version"] == number
    wait_until(lambda: [s.version for s in serving.swap.shadows.current][:1] == [2])


def predict_and_label(client: TestClient, num_of_each: int, seed: int) -> list[int]:
    """Label every image correctly. Returns the versions that predicted."""
    answered: list[int] = []
    for i in range(num_of_each):
        for name in COLOURS:
            image = tinted(name, seed + i)
            answer: Any = client.post("/v1/predict", content=image, headers=PNG).json()
            body = {"prediction_id": answer["prediction_id"], "label": name}
            assert client.post("/v1/feedback", json=body).status_code == 201
            answered.append(answer["version"])
    return answered


def test_bad_version_is_rolled_back_once_labels_show_it(settings: Settings) -> None:
    serving = start_with_the_starter(settings)
    try:
        with client_of(serving) as client, running_trainer(settings):
            assert "evergreen_self_healing_total 0.0" in client.get("/metrics").text
            bad = publish_swapped(serving)
            make_champion(client, serving, bad)
            assert set(predict_and_label(client, 10, seed=5000)) <= {bad, 2}
            wait_until(lambda: client.get("/v1/champion").json()["version"] == 2)
            found = client.get("/v1/champion").json()
            assert found["who"] == "self-healing"
            assert f"version {bad} got 0 right, and version 2 before it" in found["why"]
            assert "evergreen_self_healing_total 1.0" in client.get("/metrics").text
            # It stays champion.
            wait_until(lambda: serving.slot.version == 2)
            assert set(predict_and_label(client, 5, seed=6000)) == {2}
            time.sleep(1.0)
            assert client.get("/v1/champion").json()["activation"] == found["activation"]
    finally:
        serving.stop()


def test_bad_version_stays_with_self_healing_off(settings: Settings) -> None:
    switched_off = settings.model_copy(update={"self_healing": False})
    serving = start_with_the_starter(switched_off)
    try:
        with client_of(serving) as client, running_trainer(switched_off):
            bad = publish_swapped(serving)
            make_champion(client, serving, bad)
            assert set(predict_and_label(client, 10, seed=5000)) == {bad}
            time.sleep(2.0)
            assert client.get("/v1/champion").json()["version"] == bad
    finally:
        serving.stop()
