"""The fast lane: a prediction that asks for nothing but an answer passes the framework by.

Most predictions are one image as the body. What a framework does for a request, finding its route
and checking its parameters, is a third of what they cost the event loop. All others go the
documented way (`service/routes/predict.py`), which makes the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.admission import TIMEOUT_HEADER
from service.bodies import is_raw
from service.routes import predict
from service.serving import Serving

_TIMEOUT_HEADER = TIMEOUT_HEADER.lower().encode()


@dataclass(frozen=True, slots=True)
class _Route:
    """What metrics are counted under."""

    path: str = predict.PATH


_ROUTE = _Route()


class FastLane:
    """ASGI, right before the framework's router: answers plain predictions in its place."""

    def __init__(
        self,
        app: ASGIApp,
        serving: Callable[[], Serving | None],
        handlers: Mapping[Any, Callable[..., Any]],
    ) -> None:
        """`handlers` are the framework's, of exceptions, but that of `Exception`."""
        self._app = app
        self._serving = serving
        known = {kind: handler for kind, handler in handlers.items() if kind is not Exception}
        self._lane = ExceptionMiddleware(self._predict, known)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._lane if is_plain(scope) else self._app)(scope, receive, send)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        serving = self._serving()
        if serving is None:
            await self._app(scope, receive, send)  # which says so
            return
        scope["route"] = _ROUTE
        image = await _body(receive)
        response = await predict.answer_one(Request(scope, receive), serving, image)
        await response(scope, receive, send)


def is_plain(scope: Scope) -> bool:
    """Whether it is one image as the body, without parameters or a deadline."""
    if scope["type"] != "http" or scope["path"] != predict.PATH or scope["method"] != "POST":
        return False
    is_image = False
    for name, value in scope["headers"]:
        if name == b"content-type":
            is_image = is_raw(value.decode("latin-1"))
        elif name == _TIMEOUT_HEADER:
            return False
    return is_image and not scope["query_string"]


async def _body(receive: Receive) -> bytes:
    """Raises ClientDisconnect."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
