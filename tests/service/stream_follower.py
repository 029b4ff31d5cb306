"""A client of GET /v1/stream, at the ASGI that a server speaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp

from tests.service.access_clients import Headers

WITHIN_S = 5.0
Event = tuple[str, Any]


class Follower:
    """A client of the stream."""

    def __init__(self, app: ASGIApp, headers: Headers | None = None) -> None:
        self._app = app
        sent = {"host": "127.0.0.1"} | (headers or {})
        self._scope = {
            **{"type": "http", "method": "GET", "path": "/v1/stream", "raw_path": b"/v1/stream"},
            **{"query_string": b"", "http_version": "1.1", "scheme": "http"},
            "headers": [(name.lower().encode(), text.encode()) for name, text in sent.items()],
            "client": ("127.0.0.1", 1),
        }
        self._body = [{"type": "http.request", "body": b""}]
        self._leaves = asyncio.Event()
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        # Clear: the client reads nothing.
        self.reads = asyncio.Event()
        self.reads.set()
        self.status: int | None = None
        self.headers: Headers = {}
        self._events: list[Event] = []
        self._task: asyncio.Future[None] | None = None

    async def connect(self) -> None:
        self._task = asyncio.ensure_future(self._app(self._scope, self._receive, self._send))
        start = await asyncio.wait_for(self._messages.get(), WITHIN_S)
        self.status = start["status"]
        self.headers = {name.decode(): text.decode() for name, text in start["headers"]}

    async def next(self, name: str) -> Any:
        """The body of the next event of this name."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                for i, (found, body) in enumerate(self._events):
                    if found == name:
                        del self._events[: i + 1]
                        return body
                await self._read()

    async def silence(self, seconds: float) -> list[Event]:
        """The events that come in so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._read()
        except TimeoutError:
            return self._events

    async def ended(self) -> None:
        assert self._task is not None
        await asyncio.wait_for(self._task, WITHIN_S)

    async def leave(self) -> None:
        self._leaves.set()
        await self.ended()

    async def _read(self) -> None:
        message = await self._messages.get()
        for block in message["body"].decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line[:1] not in ":")
            if "event" in fields:
                self._events.append((fields["event"], json.loads(fields["data"])))

    async def _receive(self) -> Any:
        if self._body:
            return self._body.pop()
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        self._messages.put_nowait(message)


@asynccontextmanager
async def following(app: Any, headers: Headers | None = None) -> AsyncIterator[Follower]:
    follower = Follower(app, headers)
    await follower.connect()
    yield follower
    await follower.leave()
