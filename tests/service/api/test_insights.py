"""GET /v1/map and GET /v1/learning-curve."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from core.review import analyses
from core.review.analyses import AnalysisRow
from core.store.store import Store
from service.inference.serving_process import ServingProcess
from tests.core.review.test_insights import analysis_of
from tests.service.conftest import client_of

pytestmark = pytest.mark.slow  # not in make check

CURVE = {
    "version": 3,
    "computed_at": 5.0,
    "judged_by": "cross-validation",
    "points": [{"labels": 40, "accuracy": 0.71, "interval": [0.6, 0.8]}],
    "forecast": [{"labels": 80, "accuracy": 0.8, "interval": [0.7, 0.9]}],
    "gains": {},
    "basis": {},
    "verdict": "worth it",
    "text": "Doubling the labels is expected to gain 9.0 points (1.0 to 12.0).",
    "classes": [
        {"name": "<b>", "examples": 1, "accuracy": None, "interval": None, "gain_expected": None}
    ],
}


@pytest.fixture
def client(serving: ServingProcess) -> TestClient:
    """Of a home without analyses."""
    with serving.store.db.write() as conn:
        analyses.remove(conn, analyses.listing(conn))
    return client_of(serving)


def add(client: TestClient, version: int = 3) -> None:
    store: Store = client.app.state.serving.store  # type: ignore[attr-defined]
    content = analysis_of(10).to_bytes(float(version))
    digest = store.blobs.put(content)
    with store.db.write() as conn:
        row = AnalysisRow(version, digest, len(content), 9, {"learning_curve": CURVE}, 5.0)
        analyses.add(conn, row)


def test_map_is_empty_before_the_first_analysis(client: TestClient) -> None:
    found = client.get("/v1/map").json()
    assert (found["version"], found["ids"], found["names"], found["total"]) == (None, [], [], 0)


def test_map_has_the_points_and_is_cached_by_its_tag(client: TestClient) -> None:
    empty = client.get("/v1/map")
    add(client)
    found = client.get("/v1/map?limit=3", headers={"If-None-Match": empty.headers["ETag"]})
    assert found.status_code == 200
    body = found.json()
    assert (body["version"], body["ids"], body["total"]) == (3, [1, 5, 10], 10)
    assert {len(body[name]) for name in ("ids", "x", "y", "labels", "predicted", "held_out")} == {3}
    same = client.get("/v1/map?limit=3", headers={"If-None-Match": found.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert {each.headers["Cache-Control"] for each in (found, same)} == {"private, no-cache"}
    add(client, 4)
    newer = client.get("/v1/map?limit=3", headers={"If-None-Match": found.headers["ETag"]})
    assert newer.json()["version"] == 4


@pytest.mark.parametrize("limit", ["0", "20001", "x", "-1"])
def test_limit_of_the_map_is_checked(client: TestClient, limit: str) -> None:
    refused = client.get(f"/v1/map?limit={limit}")
    assert refused.status_code == 422
    assert "limit" in refused.text


def test_curve_says_what_is_missing_before_the_first_analysis(client: TestClient) -> None:
    found = client.get("/v1/learning-curve").json()
    assert (found["verdict"], found["points"], found["version"]) == ("too early", [], None)
    assert found["text"]


def test_curve_is_that_of_the_newest_analysis_and_is_cached(client: TestClient) -> None:
    add(client)
    found = client.get("/v1/learning-curve")
    body = found.json()
    assert body["points"] == CURVE["points"]
    assert body["computed_at"] == "1970-01-01T00:00:05Z"
    assert body["classes"][0]["name"] == "<b>"
    assert "basis" not in body
    tag = found.headers["ETag"]
    same = client.get("/v1/learning-curve", headers={"If-None-Match": tag})
    assert same.status_code == 304
