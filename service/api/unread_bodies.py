"""Bodies that a response did not wait for, on connections that close after it.

A request may be refused before its body has arrived. If the connection were closed then, what still
arrives would be answered with a reset, and a client that sends all before it reads would lose the
response; a proxy would respond with 502. So the response is sent at once, and its end only when the
rest of the body is there, within limits. On a connection that stays open, the server itself skips
the rest.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Discarding is cheap, yet it must end. A client that reads while it sends has its response anyway.
MAX_BYTES = 100_000_000
MAX_S = 15.0
IDLE_S = 5.0


def closes(scope: Scope) -> bool:
    """Whether the client wants its connection to be closed after the response."""
    if scope.get("http_version") == "1.0":
        return True
    return any(
        name == b"connection" and b"close" in value.lower() for name, value in scope["headers"]
    )


async def respond_then_read(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Call the app, and hold its response open until the body of the request has arrived."""
    is_read = is_held = False

    async def receive_part() -> Message:
        nonlocal is_read
        message = await receive()
        is_read = not message.get("more_body", False)
        return message

    async def send_part(message: Message) -> None:
        nonlocal is_held
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and not is_read:
            is_held = True
            message = {**message, "more_body": True}
        await send(message)

    await app(scope, receive_part, send_part)
    if is_held:
        await _discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + MAX_S
    num_bytes = 0
    try:
        async with asyncio.timeout(IDLE_S) as timer:
            while num_bytes <= MAX_BYTES:
                message = await receive()
                num_bytes += len(message.get("body", b""))
                if not message.get("more_body", False):  # the end, or the client has gone
                    return
                timer.reschedule(min(loop.time() + IDLE_S, ends_at))
    except TimeoutError:
        pass
