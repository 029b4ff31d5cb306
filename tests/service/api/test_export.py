"""GET /v1/export: the labelled set is sent as it is read."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Iterator
from io import BytesIO

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from core.exchange.exporting.export import Export
from service.inference.serving_process import ServingProcess
from tests.core.exchange.archives import packed, photos
from tests.service.api.uploads import imported, request_of
from tests.service.conftest import app_of

pytestmark = pytest.mark.slow  # not in `make check`

FOUR = packed(photos("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"))


@pytest.mark.parametrize("format", ["folder", "jsonl", "label-studio"])
def test_export_is_sent_with_a_name_and_comes_in_again(fresh: TestClient, format: str) -> None:
    imported(fresh, FOUR)
    response = fresh.get(f"/v1/export?format={format}")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/zip"
    assert f"evergreen-{format}-4.zip" in response.headers["Content-Disposition"]
    report = json.loads(zipfile.ZipFile(BytesIO(response.content)).read("report.json"))
    assert report["exported"] == 4
    assert imported(fresh, response.content)["counts"]["already"] == 4
    only_labels = fresh.get(f"/v1/export?format={format}&images=false")
    assert only_labels.headers["Content-Type"] != "application/zip"
    assert b"cat" in only_labels.content


def test_client_that_leaves_ends_the_export(
    serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def pieces(_: Export) -> Iterator[bytes]:
        for number in range(1_000):
            made.append(number)
            yield bytes(1_000)

    monkeypatch.setattr(Export, "pieces", pieces)
    scope, _ = request_of([], 0)
    scope |= {"method": "GET", "path": "/v1/export", "headers": scope["headers"][:1]}
    num_sent = 0
    is_gone = asyncio.Event()

    bodies = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if bodies:
            return bodies.pop()
        await is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal num_sent
        num_sent += 1
        if num_sent > 5:
            is_gone.set()
            await asyncio.sleep(0.01)

    asyncio.run(app_of(serving)(scope, receive, send))
    assert len(made) < 100


def test_bad_export_is_refused(client: TestClient) -> None:
    for query in ("format=other", "images=maybe", "images=1", "nothing=1"):
        assert client.get(f"/v1/export?{query}").status_code == 422
