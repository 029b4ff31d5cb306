"""How the middleware reads the body of a request, and which bodies it refuses."""

from __future__ import annotations

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.api import request_bodies
from service.traffic.admission import Admission
from tests.service.api.asgi_client import (
    BODY,
    Client,
    finish,
    limited,
    nobody,
    ready,
    run,
    scope_of,
)


@pytest.mark.parametrize("length", [11, 2_000_000, None])
@pytest.mark.parametrize("path", ["/v1/predict", "/v1/feedback"])
def test_app_gets_the_whole_body_and_then_the_disconnect(path: str, length: int | None) -> None:
    async def test() -> None:
        messages: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            messages.extend([await receive(), await receive()])
            await finish(send)

        client = ready()
        middleware = limited(app, Admission(limit=1, max_wait_s=60.0))
        await middleware(scope_of(path, length), client.receive, client.send)
        assert messages == [
            {"type": "http.request", "body": b"".join(BODY), "more_body": False},
            {"type": "http.disconnect"},
        ]

    run(test)


def test_client_that_disconnects_during_its_body_gets_no_response() -> None:
    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)
        messages: list[Message] = [
            {"type": "http.request", "body": b"one", "more_body": True},
            {"type": "http.disconnect"},
        ]
        client = Client()

        async def receive() -> Message:
            return messages.pop(0)

        await limited(nobody, admission)(scope_of(), receive, client.send)
        assert client.answers == []
        assert admission.in_flight == 0

    run(test)


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/feedback"])
def test_body_that_stops_arriving_or_is_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(request_bodies, "IDLE_S", 0.01)

    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)
        middleware = limited(nobody, admission, max_bytes=8)
        stopped, announced, grown = Client(), ready(), ready()
        await middleware(scope_of(path, length=8), stopped.receive, stopped.send)
        await middleware(scope_of(path, length=11), announced.receive, announced.send)
        await middleware(scope_of(path, length=None), grown.receive, grown.send)
        assert (stopped.status, announced.status, grown.status) == (408, 413, 413)
        assert len(announced.parts) == len(BODY), "it is not read"
        assert admission.in_flight == 0

    run(test)
