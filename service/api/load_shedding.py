"""Refusing a prediction before anything is done for it, when there is more to do than can be done.

It is looked at twice: as soon as its head is there, and, as many may have come at once, when its
body is. From then on it has a place, which `Admission.admitted` takes over.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import Overloaded
from service.api import problems
from service.traffic.admission import TIMEOUT_HEADER, Admission, of_allowed

_TIMEOUT_HEADER = TIMEOUT_HEADER.lower().encode()
# A larger body, or one of unknown length, is read by whoever wants it, and needs no place before.
_MAX_BYTES = 1_000_000


class Shedding:
    """ASGI: answers 503 in place of the app. What limits bodies stands before it."""

    def __init__(self, app: ASGIApp, admission: Callable[[], Admission | None]) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        admission = self._admission() if predicts(scope) else None
        if admission is None:
            await self._app(scope, receive, send)
            return
        length, allowed_s = _announced(scope)
        try:
            admission.check(allowed_s)
            if length is None or length > _MAX_BYTES:
                place = None
            else:
                receive = await _read(receive)
                place = admission.take_place(allowed_s)
        except Overloaded as error:
            await problems.to_response(error, scope["path"])(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            if place is not None:
                place.leave()


def predicts(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    path: str = scope["path"]
    is_prediction = path == "/v1/predict" or (path.startswith("/v2/") and path.endswith("/infer"))
    return is_prediction and scope["method"] == "POST"


def _announced(scope: Scope) -> tuple[int | None, float | None]:
    """The length of the body, and how long an answer may be expected to take."""
    length: int | None = None
    allowed_s: float | None = None
    for name, value in scope["headers"]:
        # What is no number is refused later, in words.
        if not value.isdigit():
            continue
        if name == b"content-length":
            length = int(value)
        elif name == _TIMEOUT_HEADER and len(value) < 9:
            allowed_s = of_allowed(int(value) / 1000)
    return length, allowed_s


async def _read(receive: Receive) -> Receive:
    """Wait for the whole body. Returns what gives it once more, and then goes on."""
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        if not message.get("more_body", False):
            break
    messages.reverse()

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
