"""What is refused before the app sees it, and the places of what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.api import request_bodies
from service.api.load_shedding import Shedding
from service.api.request_bodies import BodyLimit
from service.traffic.admission import Admission

BODY = (b"one", b"two", b"three")


def scope_of(path: str = "/v1/predict", length: int | None = 11, **headers: str) -> Scope:
    fields = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    if length is not None:
        fields.append((b"content-length", str(length).encode()))
    return {"type": "http", "method": "POST", "path": path, "headers": fields}


@dataclass
class Client:
    """Sends its body when it is told to, and keeps what comes back."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    answers: list[Message] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=lambda: list(BODY))

    async def receive(self) -> Message:
        await self.go_on.wait()
        if not self.parts:
            return {"type": "http.disconnect"}
        part = self.parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self.parts)}

    async def send(self, message: Message) -> None:
        self.answers.append(message)

    @property
    def status(self) -> int | None:
        return self.answers[0]["status"] if self.answers else None


async def finish(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ready() -> Client:
    client = Client()
    client.go_on.set()
    return client


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_of_many_whose_heads_came_at_once_only_so_many_reach_the_app_as_there_is_room_for() -> None:
    async def test() -> None:
        admission = Admission(limit=2, max_wait_s=60.0)
        is_over = asyncio.Event()
        num_in_work = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(0)  # routing, dependencies
            with admission.admitted(1):
                num_in_work.append(admission._in_work)
                await is_over.wait()
            await finish(send)

        shedding = Shedding(app, lambda: admission)
        clients = [Client() for _ in range(6)]
        tasks = [
            asyncio.create_task(shedding(scope_of(), client.receive, client.send))
            for client in clients
        ]
        await asyncio.sleep(0)
        assert [client.status for client in clients] == [None] * 6, "all have been let in so far"
        for client in clients:
            client.go_on.set()
        while sum(client.status == 503 for client in clients) < 4:
            await asyncio.sleep(0)
        is_over.set()
        await asyncio.gather(*tasks)
        assert sorted(client.status or 0 for client in clients) == [200] * 2 + [503] * 4
        assert max(num_in_work) == 2, "who is admitted takes its place over"
        assert admission._in_work == 0

    run(test)


@pytest.mark.parametrize("error", [None, ValueError("lost")])
def test_a_place_is_left_by_who_is_never_admitted(error: Exception | None) -> None:
    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert admission._in_work == 1
            if error is not None:
                raise error
            await finish(send)

        client = ready()
        call = Shedding(app, lambda: admission)(scope_of(), client.receive, client.send)
        if error is None:
            await call
        else:
            with pytest.raises(ValueError, match="lost"):
                await call
        assert admission._in_work == 0

    run(test)


@pytest.mark.parametrize("length", [11, 2_000_000, None])
def test_the_app_gets_the_body_as_it_came_and_then_the_going_away(length: int | None) -> None:
    async def test() -> None:
        found: list[Message] = []
        left = -1
        client = ready()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal left
            left = len(client.parts)
            for _ in range(4):
                found.append(await receive())
            await finish(send)

        admission = Admission(limit=1, max_wait_s=60.0)
        await Shedding(app, lambda: admission)(scope_of(length=length), client.receive, client.send)
        assert [message.get("body") for message in found] == [*BODY, None]
        assert [message.get("more_body") for message in found] == [True, True, False, None]
        assert left == (0 if length == 11 else 3), "a large body is not read beforehand"

    run(test)


def test_half_of_what_a_client_allows_is_planned_for() -> None:
    now = 100.0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await finish(send)

    async def status_of(timeout_ms: int) -> int | None:
        client = ready()
        scope = scope_of(x_request_timeout_ms=str(timeout_ms))
        await Shedding(app, lambda: admission)(scope, client.receive, client.send)
        return client.status

    async def test() -> None:
        nonlocal now
        with admission.admitted(1):
            for _ in range(200):
                with admission.admitted(1):
                    now += 0.1
        with admission.admitted(10):
            assert await status_of(1_800) == 503
            assert await status_of(2_200) == 200

    admission = Admission(limit=100, max_wait_s=60.0, clock=lambda: now)
    run(test)


def test_a_body_that_stops_coming_or_is_too_large_is_refused_while_it_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_bodies, "IDLE_S", 0.01)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nobody should come so far")

    async def test() -> None:
        admission = Admission(limit=1, max_wait_s=60.0)
        limited = BodyLimit(Shedding(app, lambda: admission), max_bytes=8)
        stopped, large = Client(), ready()
        await limited(scope_of(length=8), stopped.receive, stopped.send)
        await limited(scope_of(length=8), large.receive, large.send)
        assert (stopped.status, large.status) == (408, 413)
        assert admission._in_work == 0

    run(test)
