"""A disk without a free byte: every write of a prediction's way fails, and predictions go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service import assert_problem
from tests.service.client import label_image, label_prediction, new_image
from tests.service.conftest import client_of, settings_in
from tests.service.trained_home import start_with_the_starter
from tests.support.small_disk import filled, small_disk
from tests.support.wait import wait_until

# A home of its own for each case, on a disk of its own.
pytestmark = pytest.mark.slow

PNG = {"Content-Type": "image/png"}


def predict_in_every_way(client: TestClient) -> list[Any]:
    """The plain way, which passes the framework by, and the others."""
    several = [("image", ("a.png", new_image())) for _ in range(2)]
    responses = [
        client.post("/v1/predict", content=new_image(), headers=PNG),
        client.post("/v1/predict?top=2", content=new_image(), headers=PNG),
        client.post("/v1/predict", files=several),
        client.post("/predict", content=new_image(), headers=PNG),
    ]
    assert [response.status_code for response in responses] == [200] * len(responses)
    items = responses[2].json()["items"]
    assert [item["problem"] for item in items] == [None, None]
    return [items[0]["prediction"], *(responses[i].json() for i in (0, 1, 3))]


def are_labelled(client: TestClient, answers: list[Any]) -> bool:
    """They are not yet while a prediction waits in the spool, or free disk was not looked at."""
    statuses = {
        label_prediction(client, answer["prediction_id"], "cat").status_code for answer in answers
    }
    assert statuses <= {201, 409, 503}
    return statuses == {201}


@pytest.mark.parametrize("min_free_disk_mb", [0.0, 1.0], ids=["unwatched", "watched"])
def test_predictions_go_on_while_the_disk_is_full(tmp_path: Path, min_free_disk_mb: float) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        settings = settings_in(disk / "home")
        settings = settings.model_copy(update={"min_free_disk_mb": min_free_disk_mb})
        serving = start_with_the_starter(settings)
        try:
            with client_of(serving) as client:
                predict_in_every_way(client)
                with filled(disk):
                    lost = [answer for _ in range(3) for answer in predict_in_every_way(client)]
                    assert client.get("/metrics").status_code == 200
                    assert client.get("/readyz").status_code == 200
                    full = label_image(client, new_image(), "cat")
                    assert_problem.problem(full, 507, "disk-full", "nothing was stored")
                # What was not kept can't be corrected by id, and says so.
                for answer in lost:
                    response = label_prediction(client, answer["prediction_id"], "cat")
                    assert response.status_code in (201, 404, 503), response.text
                wait_until(
                    lambda: are_labelled(client, predict_in_every_way(client)),
                    30,
                    "the store to be well",
                )
        finally:
            serving.stop()
