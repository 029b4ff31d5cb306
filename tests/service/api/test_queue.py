"""GET /v1/queue and GET /v1/neighbours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.access.roles import Role
from core.errors import Overloaded
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.store.blobs import sha256
from service.inference.review_thread import ReviewThread
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem, trained_home
from tests.service.access_clients import add_keys
from tests.service.client import label_image, label_prediction, new_image, predict
from tests.service.conftest import client_of
from tests.service.trained_home import UNFAMILIAR, tinted
from tests.support import images
from tests.support.analyses import Scored, analyse

pytestmark = pytest.mark.slow  # not in make check


def queue(client: TestClient, **query: object) -> dict[str, Any]:
    response = client.get("/v1/queue", params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def ids(found: dict[str, Any]) -> list[str]:
    return [item[item["kind"]]["id"] for item in found["items"]]


@pytest.fixture
def waiting(fresh: TestClient) -> list[str]:
    """Photos that wait for a label, of a home of this test alone."""
    return [predict(fresh, images.png(64, 64, seed)) for seed in (3, 4, 5)]


def test_empty_home_says_what_to_do(fresh: TestClient) -> None:
    for by, hint in (
        ("doubt", "send images to /v1/predict"),
        ("unfamiliar", "send images to /v1/predict"),
        ("suspect", "no labels were analysed yet"),
    ):
        found = queue(fresh, by=by)
        assert (found["by"], found["items"], found["waiting"]) == (by, [], 0)
        assert hint in found["hint"]
        assert (found["reserved_seconds"], found["analysis"]) == (120, None)


def test_prediction_waits_until_it_is_labelled(fresh: TestClient, waiting: list[str]) -> None:
    found = queue(fresh, reviewer="ann")
    assert sorted(ids(found)) == sorted(waiting)
    first = found["items"][0]
    assert (first["kind"], first["example"]) == ("prediction", None)
    assert first["prediction"]["image"]
    assert first["why"]
    assert queue(fresh, reviewer="bob")["items"] == []
    label_prediction(fresh, waiting[0], "cat")
    assert sorted(ids(queue(fresh, reviewer="ann"))) == sorted(waiting[1:])
    assert len(queue(fresh, reviewer="ann", limit=1)["items"]) == 1


def test_kept_prediction_has_a_direction_that_the_queue_can_use(
    trained_serving: ServingProcess, trained_client: TestClient
) -> None:
    predict(trained_client, tinted("red", 77))
    odd = predict(trained_client, UNFAMILIAR)
    found = queue(trained_client, by="unfamiliar")
    assert ids(found) == [odd]
    assert found["items"][0]["why"].startswith("similarity 0.")
    assert found["items"][0]["prediction"]["unfamiliar"] is True


def test_suspect_is_an_example(trained_serving: ServingProcess, trained_client: TestClient) -> None:
    found = analyse(trained_serving.store, {2: Scored("blue", 0.25)}, version=2)
    suspects = queue(trained_client, by="suspect")
    (item,) = suspects["items"]
    assert (item["kind"], item["prediction"], item["example"]["id"]) == ("example", None, 2)
    assert (item["example"]["label"], item["example"]["predicted"]) == ("red", "blue")
    assert suspects["analysis"]["version"] == found[0].version == 2


@pytest.mark.parametrize(
    "query",
    [
        "by=chance",
        "limit=0",
        "limit=101",
        "limit=1_0",
        "limit=true",
        "reviewer=" + "x" * 101,
        "who=ann",
        "limit=1&limit=2",
    ],
)
def test_bad_query_of_the_queue_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/v1/queue?{query}").status_code in (400, 422)


def test_reviewer_is_plain_text(client: TestClient) -> None:
    assert_problem.problem(
        client.get("/v1/queue", params={"reviewer": "a\x00b"}), 422, "invalid-request"
    )


def test_key_is_the_reviewer_that_is_not_named(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:

    serving = trained_home.start_with_the_starter(settings)
    try:
        as_role = add_keys(serving)
        client = client_of(serving)
        client.headers.update(as_role[Role.LABEL])
        only = predict(client, new_image())
        assert ids(queue(client)) == ids(queue(client, reviewer="a-label")) == [only]
        assert queue(client, reviewer="another")["items"] == []
        refused = client.get("/v1/queue", headers=as_role[Role.PREDICT])
        assert_problem.problem(refused, 403, "role-required")
    finally:
        serving.stop()


def test_neighbours_of_an_example_and_a_prediction_look_like_it(
    trained_client: TestClient,
) -> None:
    found = trained_client.get("/v1/neighbours?example=1&limit=5").json()
    assert found["version"] == 2
    assert [each["example"]["label"] for each in found["neighbours"]] == ["red"] * 5
    assert 1 not in [each["example"]["id"] for each in found["neighbours"]]
    cosines = [each["similarity"] for each in found["neighbours"]]
    assert cosines == sorted(cosines, reverse=True)
    prediction = predict(trained_client, tinted("blue", 99))
    found = trained_client.get(f"/v1/neighbours?prediction={prediction.upper()}").json()
    assert [each["example"]["label"] for each in found["neighbours"]] == ["blue"] * 3


def test_image_without_an_embedding_is_embedded(
    trained_serving: ServingProcess, trained_client: TestClient
) -> None:
    image = tinted("blue", 500)
    example = label_image(trained_client, image, "blue").json()["example_id"]
    found = trained_client.get(f"/v1/neighbours?example={example}").json()
    assert [each["example"]["label"] for each in found["neighbours"]] == ["blue"] * 3
    trained_serving.store.blobs.delete(sha256(image))
    assert_problem.problem(
        trained_client.get(f"/v1/neighbours?example={example}"), 410, "image-lost"
    )


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 422, "invalid-request"),
        (f"example=1&prediction={'0' * 36}", 422, "invalid-request"),
        ("example=99999", 404, "unknown-example"),
        ("example=-1", 404, "unknown-example"),
        (f"example={2**63}", 404, "unknown-example"),
        ("prediction=nothing", 404, "unknown-prediction"),
    ],
)
def test_neighbours_of_nothing_are_refused(
    trained_client: TestClient, query: str, status: int, code: str
) -> None:
    assert_problem.problem(trained_client.get(f"/v1/neighbours?{query}"), status, code)


def test_home_without_labels_has_no_neighbours(fresh: TestClient) -> None:
    prediction = predict(fresh, new_image())
    found = fresh.get(f"/v1/neighbours?prediction={prediction}").json()
    assert found == {"version": 1, "neighbours": []}


def test_reviewers_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.inference.review_thread._MAX_WAITING", 2)
    thread = ReviewThread()

    async def ask_thrice() -> list[object]:
        asked = (thread.run(lambda: 1) for _ in range(3))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    *answered, refused = asyncio.run(ask_thrice())
    assert answered == [1, 1]
    assert isinstance(refused, Overloaded)
    assert asyncio.run(thread.run(lambda: 2)) == 2


def test_label_of_an_image_takes_its_predictions_out(fresh: TestClient, waiting: list[str]) -> None:
    serving = fresh.app.state.serving  # type: ignore[attr-defined]
    image = images.png(64, 64, 4)
    intake.label_image(serving.store, image, LabelRequest("cat"), Limits(), 1.0)
    assert sorted(ids(queue(fresh))) == sorted([waiting[0], waiting[2]])
