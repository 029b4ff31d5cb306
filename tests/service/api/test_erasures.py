from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from core import erased, predictions
from core.settings import Settings
from core.store.blobs import sha256
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem, trained_home
from tests.service.client import JPEG
from tests.service.conftest import client_of
from tests.service.trained_home import tinted

pytestmark = pytest.mark.slow  # not in `make check`

RED = tinted("red", 77)


@pytest.fixture
def serving_copy(
    copy_trained_home: Callable[[Path], Settings], tmp_path: Path
) -> Iterator[ServingProcess]:
    started = ServingProcess.start(copy_trained_home(tmp_path / "home"))
    yield started
    started.stop()


@pytest.fixture
def client(serving_copy: ServingProcess) -> Iterator[TestClient]:
    with client_of(serving_copy) as opened:
        yield opened


def predict(client: TestClient, image: bytes = RED) -> str:
    made = client.post("/v1/predict", content=image, headers=JPEG).json()
    return str(made["prediction_id"])


def test_prediction_is_erased_once_and_answers_the_same_again(client: TestClient) -> None:
    prediction_id, same = predict(client), predict(client)
    path = f"/v1/predictions/{prediction_id}"
    receipt = client.delete(path, params={"who": "bob"}).json()
    assert (receipt["prediction_id"], receipt["example_id"]) == (prediction_id, None)
    assert (receipt["predictions"], receipt["who"]) == (2, "bob")
    assert receipt["finished_at"] is not None
    assert client.delete(path).json() == receipt
    assert_problem.problem(client.get(path), 404, "unknown-prediction")
    assert_problem.problem(client.delete(f"/v1/predictions/{same}"), 404, "unknown-prediction")
    body = {"prediction_id": prediction_id, "label": "red"}
    assert_problem.problem(client.post("/v1/feedback", json=body), 404, "unknown-prediction")


def test_example_is_erased_and_its_version_listed(
    client: TestClient, serving_copy: ServingProcess
) -> None:
    receipt = client.delete("/v1/examples/1").json()
    [version] = receipt["versions"]
    assert version == {"version": 2, "by": "examples", "fate": "retired-after-promotion"}
    assert receipt["labels"] == [1]
    assert len(receipt["embeddings"]) == 1
    assert not serving_copy.store.blobs.has(receipt["image"])
    assert client.delete("/v1/examples/1").json() == receipt
    gone = client.get("/v1/examples/1")
    assert_problem.problem(gone, 404, "unknown-example", "was erased")
    page = client.get("/v1/versions/2/examples?limit=1000").json()["examples"]
    assert len(page) == 2 * trained_home.NUM_OF_EACH - 1
    assert client.get("/v1/status").status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/examples/99999", 404, "unknown-example"),
        ("/v1/examples/x", 422, "invalid-request"),
        ("/v1/examples/1?who=%00", 422, "invalid-request"),
        ("/v1/predictions/x", 404, "unknown-prediction"),
    ],
)
def test_invalid_requests_are_refused(
    client: TestClient, path: str, status: int, code: str
) -> None:
    assert_problem.problem(client.delete(path), status, code)


def test_spooled_predictions_of_the_image_go(
    client: TestClient, serving_copy: ServingProcess
) -> None:
    spool, prediction_id = serving_copy.spool, predict(client)
    with serving_copy.store.db.read() as conn:
        row = predictions.get(conn, prediction_id)
    assert row is not None
    serving_copy._spool_drain.stop()
    others = [f"{n:08}-0000-0000-0000-000000000000" for n in range(2)]
    images = (RED, tinted("blue", 5))
    for name, image in zip(others, images, strict=True):
        spooled = replace(row, id=name, image=sha256(image), kept_bytes=len(image))
        assert spool.put(spooled, image)
    receipt = client.delete(f"/v1/predictions/{prediction_id}").json()
    assert receipt["spooled"] == 1
    assert [spool.holds(name) for name in others] == [False, True]
    answer = client.delete(f"/v1/predictions/{others[1]}")
    assert_problem.problem(answer, 503, "not-ready", "waits on the local disk")


def test_prediction_in_the_spool_of_another_machine_is_dropped(
    client: TestClient, serving_copy: ServingProcess
) -> None:
    prediction_id = predict(client)
    serving_copy._spool_drain.stop()
    with serving_copy.store.db.read() as conn:
        row = predictions.get(conn, prediction_id)
    assert row is not None
    client.delete(f"/v1/predictions/{prediction_id}")
    assert serving_copy.spool.put(row, RED)
    serving_copy._spool_drain._stop.clear()
    assert serving_copy._spool_drain.drain()
    assert not serving_copy.spool.holds(prediction_id)
    assert not serving_copy.store.blobs.has(row.image)
    with serving_copy.store.db.read() as conn:
        assert predictions.get(conn, prediction_id) is None
        assert erased.by_prediction(conn, prediction_id) is not None
