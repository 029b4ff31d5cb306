"""The way of a request past what BentoML does for endpoints of its own.

Its router asks each route of a mounted app whether it matches before the app asks them again, and
its context is for endpoints that it knows. Ours need neither, and refusals should cost little.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_OURS = ("/v1/", "/v2/")


class Shortcut:
    """ASGI: what is under `/v1` and `/v2` goes to `ours` at once."""

    def __init__(self, app: ASGIApp, ours: ASGIApp) -> None:
        self._app = app
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ours = scope["type"] == "http" and scope["path"].startswith(_OURS)
        # Where BentoML is configured to answer other origins (CORS), it does so on its way.
        if is_ours and not any(name == b"origin" for name, _ in scope["headers"]):
            await self._ours(scope, receive, send)
        else:
            await self._app(scope, receive, send)
