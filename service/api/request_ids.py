"""The id of a request: in its response, the audit, and the log lines of its failure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from starlette.types import Message, Scope, Send

HEADER = "X-Request-Id"
MAX_CHARACTERS = 64

_NAME = HEADER.lower().encode()
_CLEAN = re.compile(rb"[!-~]{1,%d}" % MAX_CHARACTERS)


def request_id_of(headers: Mapping[bytes, bytes]) -> str:
    """What the client or its proxy calls the request, if that is short and printable ASCII. Another
    one is made otherwise."""
    given = headers.get(_NAME)
    if given is not None and _CLEAN.fullmatch(given):
        return given.decode("ascii")
    return secrets.token_hex(8)


def of_scope(scope: Scope) -> str | None:
    """As the gate has set it. Null: the request came past the gate, from another worker."""
    request_id: str | None = scope.get("state", {}).get("request_id")
    return request_id


def answering(send: Send, request_id: str) -> Send:
    """Send it back with the response."""
    header = (_NAME, request_id.encode("ascii"))

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), header]
        await send(message)

    return send_with_id
