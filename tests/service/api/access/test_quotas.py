"""Quotas of a key: requests and bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.access.keys import Key
from core.access.roles import Role
from core.errors import QuotaExceeded
from service.api.access.quotas import Quotas
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.access_clients import Headers, add_key
from tests.service.client import JPEG, new_image

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture
def make(keyed_serving: ServingProcess) -> Any:
    count = iter(range(1000))

    def with_quota(**quota: str) -> Headers:
        name = f"{next(count)} {sorted(quota.items())}"
        headers = add_key(keyed_serving.store, name, Role.PREDICT, **quota)
        keyed_serving.key_ring.renew().result(5)
        return headers

    return with_quota


def test_requests_beyond_the_quota_wait(keyed: TestClient, make: Any) -> None:
    mine, other = make(request_quota="3/hour"), make(request_quota="3/hour")
    assert [keyed.get("/v1/status", headers=mine).status_code for _ in range(3)] == [200] * 3
    refused = keyed.get("/v1/status", headers=mine)
    assert_problem.problem(refused, 429, "quota-exceeded", "3 requests", "larger quota")
    assert 1 <= int(refused.headers["retry-after"]) <= 2 * 3600
    assert keyed.get("/v1/status", headers=other).status_code == 200
    assert keyed.get("/v2/health/live", headers=mine).status_code == 200


def test_bytes_beyond_the_quota_wait(keyed: TestClient, make: Any) -> None:
    image = new_image()
    mine = JPEG | make(byte_quota=f"{2 * len(image) + 10}B/day")
    for _ in range(2):
        assert keyed.post("/v1/predict", content=image, headers=mine).status_code == 200
    refused = keyed.post("/v1/predict", content=image, headers=mine)
    assert_problem.problem(refused, 429, "quota-exceeded", "bytes in 86,400 s")
    assert keyed.get("/v1/status", headers=mine).status_code == 200  # sends none


def test_bytes_without_an_announced_length_count_too(keyed: TestClient, make: Any) -> None:
    image = new_image()
    mine = JPEG | make(byte_quota=f"{len(image) + 10}B/day")

    def parts() -> Iterator[bytes]:
        yield image[:100]
        yield image[100:]

    codes = [keyed.post("/v1/predict", content=parts(), headers=mine).status_code for _ in "abc"]
    assert codes[0] == 200
    refused = keyed.post("/v1/predict", content=image, headers=mine)
    assert refused.status_code == 429


def test_quota_comes_back_little_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0 * 60
    monkeypatch.setattr("service.api.access.quotas.time", SimpleNamespace(time=lambda: now))
    key = Key("0" * 12, "", "a", Role.PREDICT, request_quota="10/minute", byte_quota="100B/minute")
    quotas = Quotas()

    def num_taken() -> int:
        for taken in range(100):
            with contextlib.suppress(QuotaExceeded):
                quotas.spend(key, 5)
                continue
            return taken
        raise AssertionError("no limit")

    assert num_taken() == 10
    assert num_taken() == 0
    now += 90  # half of the last minute counts
    assert num_taken() == 5
    now += 120
    assert num_taken() == 10
    with pytest.raises(QuotaExceeded, match="bytes") as raised:
        Quotas().spend(key, 101)
    assert 1 <= raised.value.retry_after_s <= 60
