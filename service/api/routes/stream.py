"""GET /v1/stream: the state of the installation, and what changes in it, as it changes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from fastapi.sse import format_sse_event
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from core.access.roles import Role
from service.api.access.caller import CallerDep
from service.api.access.gate import Gate
from service.api.dependencies import ServingDep
from service.api.disconnect import cancel_on_disconnect
from service.api.status.streams import Stream, Streams

router = APIRouter(tags=["status"])

# A client that takes nothing for so long has gone, whatever its connection says.
_SEND_WITHIN_S = 60.0
# After a restart, clients come back one after the other.
_RETRY_MS = (1_000, 3_000)


class _EventStream(Response):
    media_type = "text/event-stream"

    def __init__(self, streams: Streams, open_stream: Callable[[], Stream]) -> None:
        self._streams = streams
        self._open = open_stream
        self.status_code = 200
        self.background = None
        # Proxies such as nginx hand on each event when it comes.
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._open()
        try:
            with contextlib.suppress(ClientDisconnect, TimeoutError):
                await cancel_on_disconnect(receive, self._send_all(stream, send))
        finally:
            self._streams.close(stream)

    async def _send_all(self, stream: Stream, send: Send) -> None:
        """Raises TimeoutError."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        content: bytes | None = format_sse_event(retry=random.randint(*_RETRY_MS))
        while content is not None:
            message = {"type": "http.response.body", "body": content, "more_body": True}
            async with asyncio.timeout(_SEND_WITHIN_S):
                await send(message)
            content = await stream.take()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.get(
    "/v1/stream",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream(request: Request, serving: ServingDep, caller: CallerDep) -> Response:
    """Follow the state of the installation with one connection, instead of polling.

    The event `status` has the body of `/v1/status`. It comes first, and then when something has
    changed, at most four times a second. Times of heartbeats and free bytes are no change. The
    event `labels` has the id of the newest label event as `newest`, and `import` the body of
    `/v1/imports/{id}`, for the role train. A client that reads slowly gets the newest state only.
    Comments keep the connection alive. A server that stops, or a key that is revoked, ends the
    stream. A process serves at most 200 streams, and answers 503 beyond.
    """
    gate: Gate = request.state.gate

    async def is_admitted() -> bool:
        return await gate.still_admits(request.scope)

    streams: Streams = request.app.state.streams
    sees_imports = caller.role >= Role.TRAIN
    return _EventStream(
        streams, partial(streams.open, serving, is_admitted, sees_imports=sees_imports)
    )
