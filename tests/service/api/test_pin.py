from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from core import predictions
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.trained_home import tinted
from tests.support import images
from tests.support.wait import wait_until

PNG = {"Content-Type": "image/png"}


@pytest.fixture(autouse=True)
def _previous_is_loaded(trained_serving: ServingProcess) -> None:
    wait_until(lambda: 1 in trained_serving.swap.loaded)


def post(client: TestClient, query: str = "") -> Any:
    return client.post(f"/v1/predict{query}", content=tinted("red", 7), headers=PNG)


def test_champion_predicts_without_a_pin(trained_client: TestClient) -> None:
    assert post(trained_client).json()["version"] == 2


def test_pinned_version_predicts_and_is_recorded(
    trained_client: TestClient, trained_serving: ServingProcess
) -> None:
    answer = post(trained_client, "?version=1&top=1000").json()
    assert answer["version"] == 1
    assert len(answer["top"]) == 200
    with trained_serving.store.db.read() as conn:
        row = predictions.get(conn, answer["prediction_id"])
    assert row is not None
    assert (row.version, row.label) == (1, answer["label"])


def test_champion_may_be_pinned_too(trained_client: TestClient) -> None:
    assert post(trained_client, "?version=2").json()["version"] == 2


def test_several_images_are_predicted_by_the_pinned_version(trained_client: TestClient) -> None:
    files = [("image", (f"{i}.png", images.png(seed=i), "image/png")) for i in range(2)]
    response = trained_client.post("/v1/predict?version=1", files=files)
    assert [item["prediction"]["version"] for item in response.json()["items"]] == [1, 1]


@pytest.mark.parametrize("number", [3, 0, -1, 10**30])
def test_pin_of_an_unloaded_version_is_refused_and_names_the_loaded_ones(
    trained_client: TestClient, number: int
) -> None:
    response = post(trained_client, f"?version={number}")
    assert_problem.problem(
        response, 409, "version-not-loaded", f"version {number} ", "loaded: 1, 2"
    )


def test_pin_that_is_no_number_is_refused(trained_client: TestClient) -> None:
    assert_problem.problem(post(trained_client, "?version=new"), 422, "invalid-request", "'new'")


def test_previous_champion_stays_loaded_for_a_rollback(trained_client: TestClient) -> None:
    def ready() -> list[int]:
        (worker,) = trained_client.get("/v1/status").json()["workers"]
        found: list[int] = worker["ready"]
        return found

    # A worker tells of what it has loaded when it looks next.
    wait_until(lambda: ready() == [1, 2])
