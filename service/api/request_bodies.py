"""Request bodies: how they are read, and their limits. `input_bodies.py` finds inputs in them."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from core.errors import BodyTooLarge, InvalidRequest, SlowBody, UnsupportedMediaType
from service.api import json_bodies

FORM = "multipart/form-data"
JSON = "application/json"
# A client that sends nothing for so long would hold its connection for ever.
IDLE_S = 15.0
# So would one that sends a little now and then. Shorter than the 60 seconds after which BentoML
# refuses a request, because its response says nothing of the body.
WHOLE_S = 50.0


def media_type(request: Request) -> str:
    return media_type_of(request.headers.get("content-type", ""))


def media_type_of(content_type: str) -> str:
    return content_type.split(";")[0].strip().lower()


async def read_body(receive: Receive, length: int | None, max_bytes: int) -> bytes:
    """Read a whole body, of this length if it was announced.

    Raises BodyTooLarge, before it reads anything if the length says so; SlowBody; ClientDisconnect.
    """
    if length is not None and length > max_bytes:
        raise _too_large(f"{length:,}", max_bytes)
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + WHOLE_S
    parts: list[bytes] = []
    num_bytes = 0
    try:
        # One timer for the whole body, moved on with each part.
        async with asyncio.timeout(min(IDLE_S, WHOLE_S)) as timer:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                num_bytes += len(part)
                if num_bytes > max_bytes:
                    raise _too_large(f"more than {max_bytes:,}", max_bytes)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
                timer.reschedule(min(loop.time() + IDLE_S, ends_at))
    except TimeoutError:
        raise _too_slow(loop.time() >= ends_at) from None


def checked(
    scope: Scope, body: bytes, length: int | None, json_limits: json_bodies.Limits | None
) -> bytes:
    """The body as the routes read it. With `json_limits` None, the route takes no JSON.

    Raises InvalidRequest, UnsupportedMediaType, BodyTooLarge.
    """
    _check_complete(scope, body, length)
    if not body or scope["path"].startswith("/v2/"):  # its protocol has rules of its own
        return body
    is_json = False
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise UnsupportedMediaType(
                f"the Content-Encoding is {value.decode('latin-1')[:40]!r}, which this route does "
                "not take; send the body as it is"
            )
        if json_limits is not None and name == b"content-type":
            is_json = media_type_of(value.decode("latin-1")) == JSON
    return json_bodies.to_utf8(body, json_limits) if is_json and json_limits else body


def _check_complete(scope: Scope, body: bytes, length: int | None) -> None:
    """The server reads no body behind an offer to upgrade the connection, such as `Upgrade: h2c`,
    which Java's client makes by default. It is never taken for an empty one. Raises InvalidRequest.
    """
    names = {name for name, _ in scope["headers"]}
    has_body = length or b"transfer-encoding" in names
    if b"upgrade" in names and has_body and len(body) < (length or 1):
        announced = "chunks" if length is None else f"{length:,} bytes"
        raise InvalidRequest(
            f"the body has {len(body):,} bytes and not the {announced} that its header announces; "
            "send it without the header Upgrade (with Java: HttpClient.Version.HTTP_1_1)"
        )


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def _too_large(size: str, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {size} bytes; the limit is {max_bytes:,} (EVERGREEN_MAX_BODY_MB); send "
        "less at once, or a smaller input"
    )


def _too_slow(is_over: bool) -> SlowBody:
    if is_over:
        return SlowBody(
            f"the body is incomplete after {WHOLE_S:g} seconds: send less, "
            "or use a faster connection"
        )
    return SlowBody(
        f"nothing arrived for {IDLE_S:g} seconds, and the body is incomplete: send it again"
    )
