"""What the middleware refuses before the app sees it, and the tickets of what it admits."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from service import metrics
from service.api.app import build_routes
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Admission, Ticket
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
from tests.service.conftest import app_of, local_client


def test_concurrent_requests_are_limited_when_their_bodies_have_arrived() -> None:
    async def test() -> None:
        admission = Admission(limit=2, max_wait_s=60.0)
        is_over = asyncio.Event()
        nums_in_flight = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nums_in_flight.append(admission.in_flight)
            await is_over.wait()
            await finish(send)

        middleware = limited(app, admission)
        clients = [Client() for _ in range(6)]
        tasks = [
            asyncio.create_task(middleware(scope_of(), client.receive, client.send))
            for client in clients
        ]
        await asyncio.sleep(0)
        assert [client.status for client in clients] == [None] * 6, "their bodies are awaited"
        assert admission.in_flight == 0, "a body that is awaited takes no place"
        for client in clients:
            client.go_on.set()
        while sum(client.status == 503 for client in clients) < 4:
            await asyncio.sleep(0)
        is_over.set()
        await asyncio.gather(*tasks)
        assert sorted(client.status or 0 for client in clients) == [200] * 2 + [503] * 4
        assert max(nums_in_flight) == 2
        assert admission.in_flight == 0

    run(test)


def test_full_worker_refuses_before_it_reads_the_body() -> None:
    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)
        client = ready()
        before = metrics.shed._value.get()
        with admission.reserve():
            await limited(nobody, admission)(scope_of(), client.receive, client.send)
        assert (client.status, len(client.parts)) == (503, len(BODY))
        assert metrics.shed._value.get() == before + 1

    run(test)


@pytest.mark.parametrize("path", ["/v1/predict", "/v2/models/evergreen/infer", "/predict"])
def test_ticket_goes_with_a_prediction(path: str) -> None:
    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)
        tickets: list[Ticket] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            tickets.append(scope["state"]["ticket"])
            assert admission.in_flight == 1
            await finish(send)

        client = ready()
        await limited(app, admission)(scope_of(path), client.receive, client.send)
        assert len(tickets) == 1
        assert admission.in_flight == 0

    run(test)


def test_full_worker_answers_other_requests() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "state" not in scope
        await finish(send)

    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)
        client = ready()
        with admission.reserve():
            await limited(app, admission)(scope_of("/v1/feedback"), client.receive, client.send)
        assert client.status == 200

    run(test)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("multipart/form-data; boundary=x", 503), ("application/json", 200)],
)
def test_full_worker_refuses_labels_that_bring_their_image(content_type: str, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await finish(send)

    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)
        client = ready()
        client.parts = [b"{}"]
        scope = scope_of("/v1/feedback", content_type=content_type)
        with admission.reserve():
            await limited(app, admission)(scope, client.receive, client.send)
        assert client.status == status
        assert admission.in_flight == 0

    run(test)


@pytest.mark.parametrize("error", [None, ValueError("lost")])
def test_ticket_is_released_however_the_app_ends(error: Exception | None) -> None:
    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert admission.in_flight == 1
            if error is not None:
                raise error

        client = ready()
        call = limited(app, admission)(scope_of(), client.receive, client.send)
        if error is None:
            await call
        else:
            with pytest.raises(ValueError, match="lost"):
                await call
        assert admission.in_flight == 0

    run(test)


def test_client_that_is_slow_to_read_its_response_takes_no_place() -> None:
    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await finish(send)

        async def send(message: Message) -> None:
            assert admission.in_flight == 0

        await limited(app, admission)(scope_of(), ready().receive, send)

    run(test)


def test_half_of_the_timeout_is_planned_for() -> None:
    now = 100.0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await finish(send)

    async def status_of(timeout_ms: int) -> int | None:
        client = ready()
        scope = scope_of(x_request_timeout_ms=str(timeout_ms))
        await limited(app, admission)(scope, client.receive, client.send)
        return client.status

    async def test() -> None:
        nonlocal now
        with admission.reserve():
            for _ in range(200):
                with admission.reserve():
                    now += 0.1
        with admission.reserve(num_images=10):
            assert await status_of(1_800) == 503
            assert await status_of(2_200) == 200

    admission = Admission(limit=100, max_wait_s=60.0, clock=lambda: now)
    run(test)


def test_no_route_is_built_by_a_request(serving: ServingProcess) -> None:
    app = app_of(serving)
    build_routes(app)
    with pytest.MonkeyPatch.context() as patch, local_client(app) as client:
        patch.delattr("fastapi.routing.get_dependant")
        assert client.get("/readyz").status_code == 200
