"""A client of the middleware that sends and receives ASGI messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.inputs.pixels.kind import PIXELS
from service.api.request_middleware import RequestMiddleware
from service.processes.drain import Drain
from service.traffic.admission import Admission

BODY = (b"one", b"two", b"three")


def scope_of(path: str = "/v1/predict", length: int | None = 11, **headers: str) -> Scope:
    fields = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    if length is not None:
        fields.append((b"content-length", str(length).encode()))
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": fields}


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


def limited(app: ASGIApp, admission: Admission, max_bytes: int = 10_000_000) -> RequestMiddleware:
    serving = SimpleNamespace(
        admission=admission,
        is_batching=False,
        drain=Drain(0.0, 1.0),
        store=SimpleNamespace(kind=PIXELS),
    )
    state = State({"serving": serving})
    return RequestMiddleware(app, state, max_bytes)


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the app must not see it")


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
