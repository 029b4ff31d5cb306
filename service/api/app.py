"""The HTTP surface: one FastAPI app, mounted at `/` by `service/bento.py`."""

from __future__ import annotations

import time

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.release import release
from core.settings import Settings
from service import metrics
from service.api import problems
from service.api.load_shedding import Shedding
from service.api.problems import Problem
from service.api.request_bodies import BodyLimit
from service.api.routes import (
    champion,
    feedback,
    oip_infer,
    oip_metadata,
    page,
    predict,
    runs,
    status,
    versions,
)
from service.traffic.admission import Admission

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REFUSED = ("HEAD", "OPTIONS", "TRACE")


def create_app(settings: Settings) -> FastAPI:
    """The routes. Until `app.state.serving` is set they answer 503."""
    app = FastAPI(
        title="Evergreen",
        version=release(),
        description="An image classifier that keeps learning from the people who use it.",
        docs_url=None,  # its page loads scripts from the web
        redoc_url=None,
        responses={status: {"model": Problem} for status in problems.DOCUMENTED},
    )
    problems.install(app)
    all_routes = (
        predict,
        feedback,
        runs,
        versions,
        champion,
        status,
        oip_metadata,
        oip_infer,
        page,
    )
    for module in all_routes:
        app.include_router(module.router)

    # Last: whatever is left is ours to refuse, in our own words.
    @app.api_route("/{path:path}", methods=[*_METHODS, *_REFUSED], include_in_schema=False)
    def nothing(request: Request, path: str) -> None:
        allowed = _allowed_methods(app, request)
        if allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(allowed)})
        raise HTTPException(404)

    app.add_middleware(Shedding, admission=lambda: _admission_of(app))
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Measured)
    return app


def _admission_of(app: FastAPI) -> Admission | None:
    serving = getattr(app.state, "serving", None)
    return None if serving is None else serving.admission


class Measured:
    """ASGI: counts each request and its time under its route's template."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = _template(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.count(route, method, status, time.perf_counter() - started)


def _template(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path != "/{path:path}" else "other"


def _allowed_methods(app: FastAPI, request: Request) -> list[str]:
    allowed = set()
    for method in _METHODS:
        scope = dict(request.scope, method=method)
        for route in app.routes[:-1]:
            match, _ = route.matches(scope)
            if match.value == 2:  # Match.FULL
                allowed.add(method)
    return sorted(allowed)
