from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.registry import promotions
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem, trained_home
from tests.support import images, tiny

# Waits for real swaps: not in `make check`.
pytestmark = pytest.mark.slow

IMAGES = [trained_home.tinted("red", 700), trained_home.tinted("blue", 701), images.png(seed=702)]


@pytest.fixture
def learnt(trained_client: TestClient) -> TestClient:
    """Version 2 is champion, whatever earlier tests did."""
    if trained_client.get("/v1/champion").json()["version"] != 2:
        promote(trained_client, 2)
    return trained_client


def promote(client: TestClient, version: int, **headers: str) -> dict[str, Any]:
    response = client.put("/v1/champion", json={"version": version}, headers=headers)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def predictions(client: TestClient) -> list[dict[str, Any]]:
    bodies = []
    for image in IMAGES:
        response = client.post(
            "/v1/predict?top=1000", content=image, headers={"Content-Type": "image/png"}
        )
        bodies.append(response.json() | {"prediction_id": None})
    return bodies


def test_champion_names_who_why_and_the_rollback_target(learnt: TestClient) -> None:
    response = learnt.put("/v1/champion", json={"version": 1, "who": "ann", "why": "a test"})
    assert response.status_code == 200
    found = learnt.get("/v1/champion")
    assert found.json() == response.json()
    assert found.headers["etag"] == response.headers["etag"] == f'"{found.json()["activation"]}"'
    body = found.json()
    assert (body["version"], body["who"], body["why"], body["previous"]) == (
        1,
        "ann",
        "a test",
        None,
    )
    promote(learnt, 2)
    assert learnt.get("/v1/champion").json()["previous"] == 1


def test_promoted_version_predicts_once_put_returns(learnt: TestClient) -> None:
    for version in (1, 2, 1, 2):
        promote(learnt, version)
        assert {prediction["version"] for prediction in predictions(learnt)} == {version}
        assert learnt.get("/v1/status").json()["version"] == version


def test_rollback_restores_the_old_predictions_exactly(learnt: TestClient) -> None:
    promote(learnt, 1)
    before = predictions(learnt)
    promote(learnt, 2)
    assert [prediction["label"] for prediction in predictions(learnt)[:2]] == ["red", "blue"]
    promote(learnt, 1)
    assert predictions(learnt) == before


def test_promotion_of_the_champion_changes_nothing(learnt: TestClient) -> None:
    before = predictions(learnt)
    assert promote(learnt, 2)["version"] == 2
    assert predictions(learnt) == before


@pytest.mark.parametrize("form", ["{}", "W/{}", " {} ", "*"])
def test_matching_etag_allows_a_promotion(learnt: TestClient, form: str) -> None:
    tag = learnt.get("/v1/champion").headers["etag"]
    assert promote(learnt, 1, **{"If-Match": form.format(tag)})["version"] == 1


def test_etag_of_an_earlier_champion_stops_a_promotion(learnt: TestClient) -> None:
    old = learnt.get("/v1/champion").headers["etag"]
    promote(learnt, 1)
    new = learnt.get("/v1/champion").headers["etag"]
    response = learnt.put("/v1/champion", json={"version": 2}, headers={"If-Match": old})
    assert_problem.problem(response, 412, "promotion-conflict", old, new, "/v1/champion")
    assert learnt.get("/v1/champion").headers["etag"] == new


def test_one_of_two_promotions_with_the_same_etag_wins(learnt: TestClient) -> None:
    tag = learnt.get("/v1/champion").headers["etag"]
    promote(learnt, 1, **{"If-Match": tag})
    with ThreadPoolExecutor(3) as pool:
        sent = [
            pool.submit(learnt.put, "/v1/champion", json={"version": 2}, headers={"If-Match": tag})
            for _ in range(3)
        ]
    assert {response.result().status_code for response in sent} == {412}


@pytest.mark.parametrize("tag", ["", "version-1", '"1", 2x', '"²"', "9" * 5000, "-1"])
def test_malformed_etag_is_refused(learnt: TestClient, tag: str) -> None:
    response = learnt.put(
        "/v1/champion", json={"version": 1}, headers={"If-Match": tag.encode("latin-1")}
    )
    assert_problem.problem(response, 422, "invalid-request", "If-Match", "GET /v1/champion")


@pytest.mark.parametrize("version", [0, -1, 3, 10**30])
def test_unknown_version_is_not_promoted(learnt: TestClient, version: int) -> None:
    response = learnt.put("/v1/champion", json={"version": version})
    assert_problem.problem(response, 404, "unknown-version", str(version), "there are 1 to 2")
    assert learnt.get("/v1/champion").json()["version"] == 2


def test_version_that_nobody_can_load_is_not_promoted(learnt: TestClient) -> None:
    serving: ServingProcess = learnt.app.state.serving  # type: ignore[attr-defined]
    number = tiny.publish(serving.store)  # without its files
    response = learnt.put("/v1/champion", json={"version": number})
    assert_problem.problem(
        response, 409, "promotion-failed", f"version {number}", "is missing", "stays live"
    )
    assert learnt.get("/v1/champion").json()["version"] == 2


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({}, ("version", "required")),
        ({"version": "new"}, ("version", "'new'", "integer")),
        ({"version": 1.5}, ("version", "1.5", "integer")),
        ({"version": 1, "because": "x"}, ("because", "not permitted")),
        ({"version": 1, "who": "w" * 101}, ("who", "100")),
        ({"version": 1, "why": "w" * 1001}, ("why", "1000")),
        ({"version": 1, "why": "a\x00b"}, ("why", "control character")),
        ([], ("body",)),
    ],
)
def test_malformed_promotion_is_refused(
    learnt: TestClient, body: object, parts: tuple[str, ...]
) -> None:
    response = learnt.put("/v1/champion", json=body)
    assert_problem.problem(response, 422, "invalid-request", *parts)


def test_promotion_that_is_not_json_is_refused(learnt: TestClient) -> None:
    response = learnt.put(
        "/v1/champion", content=b"{version", headers={"Content-Type": "application/json"}
    )
    assert_problem.problem(response, 422, "invalid-request")


def test_superseded_promotion_gets_a_conflict(
    learnt: TestClient, trained_serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = promotions.request

    def request_two(conn: Any, *args: Any, **kwargs: Any) -> promotions.Promotion:
        first = request(conn, *args, **kwargs)
        request(conn, 2, who="someone", why="at the same moment", now=kwargs["now"])
        return first

    monkeypatch.setattr(promotions, "request", request_two)
    response = learnt.put("/v1/champion", json={"version": 1})
    assert_problem.problem(
        response, 409, "promotion-failed", "version 1", "a request for version 2"
    )
    monkeypatch.undo()
    promote(learnt, 2)
