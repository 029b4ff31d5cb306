"""A serving process whose blobs are in S3, while S3 fails in every way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import predictions
from core.errors import StoreError
from core.settings import Settings
from service.inference.serving_process import ServingProcess
from tests.service import trained_home
from tests.service.conftest import client_of
from tests.support import images, s3
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

PNG = {"Content-Type": "image/png"}
# A prediction waits half a second for the store, and the next ones do not wait.
ANSWERED_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def server() -> Iterator[s3.S3]:
    with s3.server() as started, pytest.MonkeyPatch.context() as patch:
        for name, value in started.environ.items():
            patch.setenv(name, value)
        yield started


@pytest.fixture(scope="module")
def settings_of_s3(server: s3.S3, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("s3") / "home",
        blob_url=f"s3://{s3.BUCKET}/evergreen",
        device="cpu",
        workers=1,
        store_connect_s=1,
        store_timeout_s=1,
    )


@pytest.fixture(scope="module")
def serving(settings_of_s3: Settings) -> Iterator[ServingProcess]:
    started = trained_home.start_with_the_starter(settings_of_s3)
    yield started
    started.stop()


def num_spooled(serving: ServingProcess) -> int:
    return len(serving.spool.oldest_first())


@pytest.mark.parametrize("fault", ["reset", "hang", "slow", "500", "503"])
def test_predictions_go_on_and_no_label_is_lost(
    server: s3.S3, serving: ServingProcess, fault: s3.Fault
) -> None:
    seed, ids = s3.FAULTS.index(fault) * 100, []
    with client_of(serving) as client, server.failing(fault):
        for number in range(10):
            image, began = images.png(64, 64, seed=seed + number), time.monotonic()
            answer = client.post("/v1/predict", content=image, headers=PNG)
            assert answer.status_code == 200, answer.text
            assert time.monotonic() - began < ANSWERED_WITHIN_S
            ids.append(answer.json()["prediction_id"])
        assert num_spooled(serving) > 0
        new = images.png(64, 64, seed=seed + 50)
        refused = client.post(
            "/v1/feedback", files={"image": ("a.png", new, "image/png")}, data={"label": "cup"}
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "store-unavailable")
        assert "127.0.0.1" not in refused.text
    wait_until(lambda: num_spooled(serving) == 0, 30, "the spool to be drained")
    with serving.store.db.read() as conn:
        rows = [predictions.get(conn, prediction_id) for prediction_id in ids]
    assert all(row is not None and serving.store.blobs.has(row.image) for row in rows)
    with client_of(serving) as client:
        correction = {"prediction_id": ids[-1], "label": "cup"}
        assert client.post("/v1/feedback", json=correction).status_code == 201
    assert rows[-1] is not None
    assert serving.store.blobs.get(rows[-1].image) == images.png(64, 64, seed=seed + 9)


@pytest.mark.parametrize("fault", ["cut", "wrong"])
def test_image_that_arrives_damaged_is_not_labelled(
    server: s3.S3, serving: ServingProcess, fault: s3.Fault
) -> None:
    image = images.png(64, 64, seed=1_000 + s3.FAULTS.index(fault))
    with client_of(serving) as client:
        prediction = client.post("/v1/predict", content=image, headers=PNG).json()
        correction = {"prediction_id": prediction["prediction_id"], "label": "cup"}
        with server.failing(fault):
            assert client.post("/v1/feedback", json=correction).status_code >= 500
        assert client.post("/v1/feedback", json=correction).status_code == 201


@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_process_that_has_served_before_starts_without_the_store(
    server: s3.S3, serving: ServingProcess, settings_of_s3: Settings, fault: s3.Fault
) -> None:
    image = images.png(64, 64, seed=2_000)
    with server.failing(fault):
        restarted = ServingProcess.start(settings_of_s3)
        try:
            wait_until(lambda: restarted.slot.version is not None, 10, "the live version")
            with client_of(restarted) as client:
                assert client.post("/v1/predict", content=image, headers=PNG).status_code == 200
        finally:
            restarted.stop()


def test_machine_that_has_never_served_does_not_start_without_the_store(
    server: s3.S3, serving: ServingProcess, settings_of_s3: Settings, tmp_path: Path
) -> None:
    url = settings_of_s3.resolved_database_url
    elsewhere = settings_of_s3.model_copy(update={"home": tmp_path, "database_url": url})
    with server.failing("reset"), pytest.raises(StoreError, match="no version can be loaded"):
        ServingProcess.start(elsewhere)
    started = ServingProcess.start(elsewhere)
    assert started.slot.version is not None
    started.stop()
