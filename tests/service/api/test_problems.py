from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from starlette.types import Message

from core import errors
from core.errors import EvergreenError, StoreError
from core.registry import promotions, versions
from service.api import problems
from service.api.app import create_app
from service.processes.drain import Drain
from service.traffic.admission import Admission
from tests.service import assert_problem
from tests.service.conftest import settings_in
from tests.support import images
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow  # not in `make check`

JPEG = {"Content-Type": "image/jpeg"}


def every_error(of: type[EvergreenError] = EvergreenError) -> Iterator[type[EvergreenError]]:
    yield of
    for below in of.__subclasses__():
        yield from every_error(below)


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v1/", "/v1/predict/", "/v1/versions/1/nope", "/docs", "/redoc"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"])
def test_unknown_path_is_not_found(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, path)
    assert_problem.problem(response, 404, "not-found", path, "/openapi.json")


def test_head_of_an_unknown_path_is_not_found(client: TestClient) -> None:
    assert client.head("/nope").status_code == 404


def test_long_path_is_not_repeated_in_full(client: TestClient) -> None:
    detail = assert_problem.problem(client.get("/" + "x" * 5000), 404, "not-found")
    assert len(detail) < 400


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/predict", "POST"),
        ("PUT", "/v1/predict", "POST"),
        ("OPTIONS", "/v1/predict", "POST"),
        ("POST", "/v1/champion", "GET, HEAD, PUT"),
        ("DELETE", "/v1/champion", "GET, HEAD, PUT"),
        ("POST", "/v1/runs/abc", "DELETE, GET, HEAD"),
        ("TRACE", "/v1/status", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
    ],
)
def test_wrong_method_is_told_the_right_ones(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    assert_problem.problem(response, 405, "method-not-allowed", method, path, f"use {allowed}")
    assert response.headers["allow"] == allowed


def test_unexpected_exception_is_logged_and_leaks_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret of /home/ann")

    monkeypatch.setattr(versions, "listing", broken)
    response = client.get("/v1/versions")
    assert_problem.problem(response, 500, "internal-error", "its log says what")
    assert "secret" not in response.text
    assert "RuntimeError" not in response.text
    assert "the secret of /home/ann" in caplog.text


def test_lost_database_is_unavailable_and_passes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(promotions, "newest_activation", lost)
    for path in ("/v1/champion", "/v1/versions", "/v1/versions/1"):
        response = client.get(path)
        assert_problem.problem(response, 503, "store-unavailable", "the server's log says why")
        assert response.headers["retry-after"] == "1"
        assert "disk I/O error" not in response.text
        assert "SELECT" not in response.text
    assert "disk I/O error" in caplog.text
    monkeypatch.undo()
    assert client.get("/v1/champion").status_code == 200


def test_prediction_needs_no_store_and_is_corrected_later(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    serving = client.app.state.serving  # type: ignore[attr-defined]
    with monkeypatch.context() as outage:
        outage.setattr(type(serving.store.blobs), "put", full)
        answer = client.post("/v1/predict", content=images.jpeg(seed=40), headers=JPEG)
        assert answer.status_code == 200
        correction = {"prediction_id": answer.json()["prediction_id"], "label": "cup"}
        refused = client.post("/v1/feedback", json=correction)
        assert_problem.problem(refused, 503, "not-ready", "waits on local disk", "try again later")
        assert b"evergreen_spool_predictions 1.0" in client.get("/metrics").content
    wait_until(lambda: serving.recorder.unwell_since is None)
    assert client.post("/v1/feedback", json=correction).status_code == 201
    assert b"evergreen_spool_predictions 0.0" in client.get("/metrics").content


@pytest.mark.parametrize("error", list(every_error()))
def test_every_error_has_a_status_and_a_code_of_its_own(error: type[EvergreenError]) -> None:
    status = problems.status_of(error("x"))
    others = [other for other in every_error() if other is not error]
    assert error.code not in [other.code for other in others]
    is_of_a_request = error not in (errors.InputError, errors.InvalidRecipe)
    if issubclass(error, errors.InputError) and is_of_a_request:
        assert 400 <= status < 500
    if issubclass(error, errors.ArtifactError):
        assert status == 500


def request_of(path: str, receive_all: list[Message], tmp_path: Any) -> list[Message]:
    """Send a request to the app as a server would; returns what it answered."""
    app = create_app(settings_in(tmp_path).model_copy(update={"auth": "off"}))
    app.state.serving = SimpleNamespace(
        admission=Admission(1, 60.0),
        drain=Drain(0.0, 1.0),  # all that it comes to
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return receive_all.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"image/png")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))
    return sent


def test_client_that_disconnects_is_no_crash(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]
    with caplog.at_level(logging.WARNING):
        sent = request_of("/v1/predict", messages, tmp_path)
    assert sent == []
    assert caplog.records == []
