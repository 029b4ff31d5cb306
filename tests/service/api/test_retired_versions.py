"""A version whose files are gone: its row says so, and it cannot become champion."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from core.store import schema
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.support import tiny

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture(scope="module")
def number(serving: ServingProcess) -> int:
    number = tiny.publish(serving.store)
    with serving.store.db.write() as conn:
        table = schema.versions
        conn.execute(table.update().where(table.c.number == number).values(retired_at=1.8e9))
    return number


def test_row_says_since_when(client: TestClient, number: int) -> None:
    version = client.get(f"/v1/versions/{number}").json()
    assert version["retired_at"] == "2027-01-15T08:00:00Z"
    assert version["manifest"] is None
    assert version["gate"] == tiny.PASSED
    listed = client.get("/v1/versions").json()["versions"]
    assert [each["retired_at"] is None for each in listed] == [False, True]


def test_promotion_is_refused(client: TestClient, number: int) -> None:
    response = client.put("/v1/champion", json={"version": number, "who": "ann", "why": ""})
    assert_problem.problem(response, 409, "version-retired", "are deleted", "/v1/versions")


def test_model_is_refused(client: TestClient, number: int) -> None:
    response = client.get(f"/v1/versions/{number}/model.onnx")
    assert_problem.problem(response, 409, "version-retired", f"version {number} is retired")
