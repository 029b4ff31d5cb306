"""The fast lane answers what the documented way answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from core.errors import StoreError
from service.api import fast_path, request_bodies
from service.api.app import create_app
from service.api.fast_path import FastLane, is_plain
from service.inference.predictor import Serving
from tests.service.conftest import app_of, settings_in
from tests.support.images import encode, scene

PLAIN = {"content-type": "image/png"}
IMAGE = encode(scene(), "PNG")


LIMIT = 1000


def scope_of(
    method: str = "POST", path: str = "/v1/predict", query: bytes = b"", **headers: str
) -> dict[str, Any]:
    headers = {"content_length": "1000", **headers}
    fields = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": fields,
    }


@pytest.mark.parametrize("kind", ["image/jpeg", "image/x-anything", "application/octet-stream"])
def test_an_image_as_the_body_is_plain(kind: str) -> None:
    assert is_plain(scope_of(content_type=kind), LIMIT)
    assert is_plain(scope_of(content_type=f"{kind.upper()}; charset=binary", accept="*/*"), LIMIT)


@pytest.mark.parametrize(
    "scope",
    [
        scope_of(content_type="image/png", method="GET"),
        scope_of(content_type="image/png", path="/v1/predict/"),
        scope_of(content_type="image/png", query=b"top=1"),
        scope_of(content_type="image/png", x_request_timeout_ms="100"),
        scope_of(content_type="multipart/form-data; boundary=x"),
        scope_of(content_type="text/plain"),
        scope_of(),
        scope_of(content_type="image/png", content_length="1001"),
        scope_of(content_type="image/png", content_length="a lot"),
        {**scope_of(), "headers": [(b"content-type", b"image/png")]},
        {"type": "lifespan"},
    ],
    ids=[
        *("method", "path", "query", "deadline", "form", "text", "no type"),
        *("too long", "no number", "no length", "no request"),
    ],
)
def test_what_asks_for_more_is_not(scope: dict[str, Any]) -> None:
    assert not is_plain(scope, LIMIT)


@pytest.mark.parametrize("body", [IMAGE, b"", b"no image"], ids=["image", "empty", "damaged"])
def test_both_ways_answer_alike(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    fast = client.post("/v1/predict", content=body, headers=PLAIN)
    monkeypatch.setattr(fast_path, "is_plain", lambda *_: False)
    documented = client.post("/v1/predict", content=body, headers=PLAIN)
    assert fast.status_code == documented.status_code
    mine, theirs = fast.json(), documented.json()
    assert mine.pop("prediction_id", "") != theirs.pop("prediction_id", None)
    assert mine == theirs
    assert {k: v for k, v in fast.headers.items() if k != "content-length"} == {
        k: v for k, v in documented.headers.items() if k != "content-length"
    }


def test_a_plain_prediction_can_be_corrected_and_is_counted(client: TestClient) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        name = 'evergreen_requests_total{method="POST",route="/v1/predict",status="200"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = counted()
    answer = client.post("/v1/predict", content=IMAGE, headers=PLAIN).json()
    assert counted() == before + 1
    corrected = client.post(
        "/v1/feedback", json={"prediction_id": answer["prediction_id"], "label": "red"}
    )
    assert corrected.status_code == 201


def test_what_fails_is_answered_as_elsewhere(
    serving: Serving, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(serving, "_see_and_keep", broken)
        refused = client.post("/v1/predict", content=IMAGE, headers=PLAIN)
    assert refused.status_code == 503
    assert refused.json()["detail"] == "the disk is full"
    with monkeypatch.context() as patched:
        patched.setattr(serving, "_see_and_keep", lambda *_: 1 / 0)
        crashed = client.post("/v1/predict", content=IMAGE, headers=PLAIN)
    assert crashed.status_code == 500
    assert crashed.json()["code"] == "internal-error"


def test_before_a_version_is_loaded_it_says_so(tmp_path: Any) -> None:
    with TestClient(FastLane(create_app(settings_in(tmp_path)), LIMIT)) as starting:
        answer = starting.post("/v1/predict", content=IMAGE, headers=PLAIN)
    assert answer.status_code == 503
    assert "starting" in answer.json()["detail"]


def test_a_client_that_leaves_before_its_body_is_whole_is_worked_for_no_more(
    serving: Serving,
) -> None:
    parts: list[Message] = [
        {"type": "http.request", "body": IMAGE[:100], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return parts.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {**scope_of(content_type="image/png"), "client": None}
    asyncio.run(app_of(serving)(scope, receive, send))
    assert sent == []
    assert serving.admission.expected_wait_s == 0.0, "nothing is left in work"


def answered(serving: Serving, parts: AsyncIterator[bytes]) -> tuple[int, bytes]:
    """The status and body of the answer to an image that comes in such parts."""
    sent: list[Message] = []

    async def receive() -> Message:
        part = await anext(parts, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app_of(serving)(scope_of(content_type="image/png"), receive, send))
    return sent[0]["status"], sent[1]["body"]


async def of(*parts: bytes, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(pause_s)


def test_an_image_that_comes_in_parts_is_whole(serving: Serving) -> None:
    status, body = answered(serving, of(IMAGE[:10], IMAGE[10:100], IMAGE[100:]))
    assert (status, b"prediction_id" in body) == (200, True)


@pytest.mark.parametrize(
    ("limit", "pause_s", "told"),
    [("IDLE_S", 1.0, b"nothing came for 0.1 seconds"), ("WHOLE_S", 0.01, b"after 0.1 seconds")],
)
def test_a_body_that_is_too_slow_is_refused_and_frees_its_place(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, limit: str, pause_s: float, told: bytes
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(request_bodies, limit, 0.1)
        status, body = answered(serving, of(*[IMAGE[:1]] * 500, pause_s=pause_s))
    assert status == 408
    assert told in body
    assert answered(serving, of(IMAGE))[0] == 200
