"""Refusals before the body: a client that sends all before it reads gets them too."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from service.api import unread_bodies
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Admission
from tests.service.api.asgi_client import BODY, Client, limited, nobody, ready, run, scope_of
from tests.service.conftest import settings_in
from tests.service.http_server import listening
from tests.service.trained_home import start_with_the_starter

MAX_BODY_BYTES = 100_000
# More than the buffers of a connection hold.
LARGE = 12_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    settings = settings_in(tmp_path_factory.mktemp("small"))
    started = start_with_the_starter(
        settings.model_copy(update={"max_body_mb": MAX_BODY_BYTES / 1e6, "max_in_flight": 1})
    )
    yield started
    started.stop()


@pytest.fixture(scope="module")
def port(small: ServingProcess) -> Iterator[int]:
    """Of a real server, because only that closes real connections."""
    with listening(small) as port:
        yield port


def send_all_then_read(port: int, head: str, body: bytes) -> bytes:
    """As `http.client`, urllib3 and many others do. Raises ConnectionError."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        lines = f"{head}\r\nHost: localhost\r\nContent-Type: image/png\r\n\r\n"
        connection.sendall(lines.encode() + body)
        parts = list(iter(lambda: connection.recv(65_536), b""))
    return b"".join(parts)


@pytest.mark.parametrize(
    "start",
    [
        "POST /v1/predict HTTP/1.1\r\nConnection: close",
        "POST /v1/predict HTTP/1.0",
        "POST /v1/predict HTTP/1.1\r\nConnection: close\r\nContent-Encoding: gzip",
        "POST /v1/feedback HTTP/1.1\r\nConnection: close",
        "POST /v2/models/evergreen/infer HTTP/1.1\r\nConnection: Close",
        "POST /predict HTTP/1.1\r\nConnection: close",
        "POST /nowhere HTTP/1.1\r\nConnection: close",
        "PUT /livez HTTP/1.1\r\nConnection: close",
        "GET /v1/status HTTP/1.1\r\nConnection: close",
        "HEAD / HTTP/1.1\r\nConnection: close",
    ],
)
def test_refusal_before_the_body_reaches_a_client_that_sends_first(port: int, start: str) -> None:
    answer = send_all_then_read(port, f"{start}\r\nContent-Length: {LARGE}", bytes(LARGE))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    if not start.startswith("HEAD"):
        assert b"12,000,000" in answer


def test_refusal_at_the_gate_reaches_a_client_that_sends_first(port: int) -> None:
    start = "POST /v1/feedback HTTP/1.1\r\nConnection: close\r\nOrigin: https://evil.example"
    answer = send_all_then_read(port, f"{start}\r\nContent-Length: {LARGE}", bytes(LARGE))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"connection: close" in answer


def test_refusal_of_chunks_reaches_a_client_that_sends_first(port: int) -> None:
    start = "POST /v1/predict HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked"
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
    answer = send_all_then_read(port, start, LARGE // 65_536 * chunk + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_refusal_of_a_full_worker_reaches_a_client_that_sends_first(
    port: int, small: ServingProcess
) -> None:
    start = f"POST /v1/predict HTTP/1.1\r\nConnection: close\r\nContent-Length: {LARGE}"
    with small.admission.reserve():
        answer = send_all_then_read(port, start, bytes(LARGE))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in answer


def test_client_that_reads_while_it_sends_has_its_answer_at_once(port: int) -> None:
    head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += f"Content-Length: {LARGE}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(20).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("limit", "value"), [("IDLE_S", 0.02), ("MAX_S", 0.02), ("MAX_BYTES", 1_000)]
)
def test_what_is_read_after_a_refusal_is_bounded(
    limit: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread_bodies, limit, value)
    num_parts = 0

    async def receive() -> dict[str, object]:
        nonlocal num_parts
        num_parts += 1
        if limit == "IDLE_S" and num_parts > 3:
            await asyncio.sleep(60)
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": bytes(100), "more_body": True}

    async def test() -> None:
        client = Client()
        scope = scope_of(length=10**9, connection="close")
        started = time.monotonic()
        await limited(nobody, Admission(1, 60.0))(scope, receive, client.send)
        assert time.monotonic() - started < 2
        assert client.status == 413
        assert [answer.get("more_body", False) for answer in client.answers[1:]] == [True, False]

    run(test)
    assert num_parts == {"IDLE_S": 4, "MAX_S": num_parts, "MAX_BYTES": 11}[limit]


def test_client_that_disconnects_ends_the_reading() -> None:
    async def test() -> None:
        client = ready()
        client.parts = []
        scope = scope_of(length=10**9, connection="close")
        await limited(nobody, Admission(1, 60.0))(scope, client.receive, client.send)
        assert client.status == 413

    run(test)


@pytest.mark.parametrize(("headers", "num_left"), [({}, len(BODY)), ({"connection": "close"}, 0)])
def test_body_is_read_only_where_the_connection_closes(
    headers: dict[str, str], num_left: int
) -> None:
    async def test() -> None:
        client = ready()
        admission = Admission(limit=1, max_wait_s=60.0)
        with admission.reserve():
            scope = scope_of(**headers)
            await limited(nobody, admission)(scope, client.receive, client.send)
        assert (client.status, len(client.parts)) == (503, num_left)

    run(test)


def test_response_that_fails_half_way_is_not_ended_as_if_it_were_whole() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("lost")

    async def test() -> None:
        client = ready()
        with contextlib.suppress(ValueError):
            await unread_bodies.respond_then_read(app, scope_of(), client.receive, client.send)
        assert len(client.answers) == 1

    run(test)
