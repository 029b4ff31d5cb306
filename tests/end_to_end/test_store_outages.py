"""Predictions while the store is gone: a real server, on a PostgreSQL that stops and freezes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from core.predictions import get
from core.settings import Settings
from core.store.store import open_store
from tests.support import images, postgres
from tests.support.server import Server, running
from tests.support.wait import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.postgres]

NUM_DURING = 40
DRAINED_WITHIN_S = 30.0
# Two requests, each with a read of the database that ends after half a second.
STATUS_WITHIN_S = 8.0


@pytest.fixture(scope="module")
def url(postgres_server: postgres.Server) -> Iterator[str]:
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="module")
def server(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"EVERGREEN_RUN_TRAINER": "false", "EVERGREEN_DATABASE_URL": url}
    with running(tmp_path_factory.mktemp("outage") / "home", **settings) as started:
        yield started


def predict(server: Server, number: int) -> str:
    """A new image each time. Returns the id."""
    image = images.png(64, 64, seed=number)
    response = server.http.post("/v1/predict", content=image, headers={"Content-Type": "image/png"})
    assert response.status_code == 200, response.text
    prediction_id: str = response.json()["prediction_id"]
    return prediction_id


def spooled(home: Path) -> int:
    folder = home / "spool"
    return (
        len([path for path in folder.iterdir() if len(path.name) == 36]) if folder.exists() else 0
    )


@pytest.mark.parametrize("how", ["refusing", "frozen"])
def test_predictions_go_on_without_the_database_and_are_stored_later(
    server: Server, url: str, postgres_server: postgres.Server, how: str
) -> None:
    predict(server, 0)
    outage: AbstractContextManager[None] = getattr(postgres_server, how)(url)
    slowest_s = 0.0
    with outage:
        ids = []
        for number in range(NUM_DURING):
            began = time.monotonic()
            ids.append(predict(server, number))
            slowest_s = max(slowest_s, time.monotonic() - began)
            assert server.http.get("/readyz").status_code == 200
        assert spooled(server.home) > 0
        began = time.monotonic()
        status = server.http.get("/v1/status").json()
        assert {"database", "store"} <= {each["what"] for each in status["degraded"]}
        assert status["labels"] is None
        text = server.http.get("/metrics").text
        assert 'evergreen_degraded{what="database"} 1.0' in text
        assert time.monotonic() - began < STATUS_WITHIN_S
        correction = {"prediction_id": ids[-1], "label": "cup"}
        refused = server.http.post("/v1/feedback", json=correction)
        assert (refused.status_code, refused.json()["code"]) == (503, "not-ready")
    assert slowest_s < 10  # of a request that found out, and not of the outage
    wait_until(lambda: spooled(server.home) == 0, DRAINED_WITHIN_S, "the spool to be drained")
    store = open_store(Settings(home=server.home, database_url=url))
    with store.db.read() as conn:
        stored = [get(conn, prediction_id) for prediction_id in ids]
    assert all(row is not None and store.blobs.has(row.image) for row in stored)
    store.db.close()
    assert server.http.post("/v1/feedback", json=correction).status_code == 201
    wait_until(lambda: not server.status()["degraded"], DRAINED_WITHIN_S, "nothing to be degraded")
