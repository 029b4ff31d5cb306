"""The way of a request past what BentoML does for endpoints of its own.

Its timer for each request lives for a minute, however soon the answer went: at 200 answers a second
that is 12,000 of them, and a task more for each request. Its router asks each route of a mounted
app whether it matches before the app asks them again, and its context is for endpoints that it
knows. Ours need none of it: what they wait for has limits of its own
(`service/api/request_bodies.py`, `service/traffic/admission.py`).
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_OURS = ("/v1/", "/v2/")


class Shortcut:
    """ASGI: what is under `/v1` and `/v2` goes to `ours` at once.

    BentoML puts it behind its own middleware. As the server starts, it goes before that.
    """

    def __init__(self, app: ASGIApp, ours: ASGIApp) -> None:
        self._app = app
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._go_first(scope)
        is_ours = scope["type"] == "http" and scope["path"].startswith(_OURS)
        # Where BentoML is configured to answer other origins (CORS), it does so on its way.
        if is_ours and not any(name == b"origin" for name, _ in scope["headers"]):
            await self._ours(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _go_first(self, scope: Scope) -> None:
        """Starlette names the outermost app in the scope, and asks its `middleware_stack` for each
        request; where either is no more, requests go the longer way."""
        outermost = scope.get("app")
        stack = getattr(outermost, "middleware_stack", None)
        if stack is not None and not isinstance(stack, Shortcut):
            outermost.middleware_stack = Shortcut(stack, self._ours)  # type: ignore[union-attr]
