"""Images unlike everything labelled, through every way in. Version 2 knows red and blue scenes."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from core import predictions
from core.models.references import References
from service.inference.serving_process import ServingProcess
from tests.service.oip.infer_requests import tensor
from tests.service.test_metrics import added, scrape
from tests.service.trained_home import FAMILIAR, UNFAMILIAR
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow  # not in `make check`

COUNTER = "evergreen_unfamiliar_predictions_total"


def predict(client: TestClient, image: bytes, **params: Any) -> Any:
    headers = {"Content-Type": "image/png"}
    response = client.post("/v1/predict", content=image, headers=headers, params=params)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(("image", "expected"), [(FAMILIAR, False), (UNFAMILIAR, True)])
def test_response_row_and_metric_say_whether_an_image_is_unfamiliar(
    trained_client: TestClient, trained_serving: ServingProcess, image: bytes, expected: bool
) -> None:
    before = scrape(trained_client)
    answer = predict(trained_client, image)
    assert answer["unfamiliar"] is expected
    with trained_serving.store.db.read() as conn:
        row = predictions.get(conn, answer["prediction_id"])
    assert row is not None
    assert row.unfamiliar is expected
    assert added(before, scrape(trained_client), COUNTER) == expected


def test_each_of_several_images_is_judged(trained_client: TestClient) -> None:
    files = [
        ("image", (name, name_image))
        for name, name_image in (("a.png", UNFAMILIAR), ("b.png", FAMILIAR), ("c.png", UNFAMILIAR))
    ]
    items = trained_client.post("/v1/predict", files=files).json()["items"]
    assert [item["prediction"]["unfamiliar"] for item in items] == [True, False, True]


def test_version_without_references_answers_null(
    trained_client: TestClient, trained_serving: ServingProcess
) -> None:
    wait_until(lambda: 1 in trained_serving.swap.loaded)
    before = scrape(trained_client)
    answer = predict(trained_client, UNFAMILIAR, version=1)
    assert answer["unfamiliar"] is None
    with trained_serving.store.db.read() as conn:
        row = predictions.get(conn, answer["prediction_id"])
    assert row is not None
    assert row.unfamiliar is None
    assert added(before, scrape(trained_client), COUNTER) == 0


@pytest.mark.parametrize(("version", "expected"), [(1, False), (2, True)])
def test_infer_flags_and_counts_unfamiliar_images(
    trained_client: TestClient, trained_serving: ServingProcess, version: int, expected: bool
) -> None:
    """A version without references flags nothing, as the protocol has no null."""
    wait_until(lambda: 1 in trained_serving.swap.loaded)
    before = scrape(trained_client)
    path = f"/v2/models/evergreen/versions/{version}/infer"
    answer = trained_client.post(path, json={"inputs": [tensor(UNFAMILIAR)]}).json()
    (flags,) = (output for output in answer["outputs"] if output["name"] == "unfamiliar")
    assert (flags["datatype"], flags["shape"], flags["data"]) == ("BOOL", [1], [expected])
    assert added(before, scrape(trained_client), COUNTER) == expected


def test_version_describes_its_references(
    trained_client: TestClient, trained_serving: ServingProcess
) -> None:
    version = trained_client.get("/v1/versions/2").json()
    content = trained_serving.store.blobs.get(version["manifest"]["references"])
    found = version["metrics"]["unfamiliar"]
    stored = References.from_bytes(content, version["manifest"]["embedding_size"])
    assert found["num_references"] == len(stored) == version["metrics"]["num_trained"]
    assert found["num_bytes"] == len(content)
    assert found["threshold"] == pytest.approx(stored.threshold, abs=1e-4)
    held_out = version["metrics"]["num_held_out"]
    assert (found["held_out_share"] is None) == (held_out == 0)
