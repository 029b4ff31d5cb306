"""The HTTP surface: one FastAPI app, mounted at `/` by `service/bento.py`."""

from __future__ import annotations

import copy
import functools
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from core.release import release
from core.settings import Settings
from service.api import input_contract, problems
from service.api.access.contract import add_keys
from service.api.access.gate import Gate
from service.api.access.route_roles import methods_of_fixed
from service.api.access.sessions import Sessions
from service.api.problems import Problem
from service.api.request_middleware import METHODS, RequestMiddleware
from service.api.routes import (
    bentoml,
    champion,
    events,
    page,
    predict,
    runs,
    session,
    status,
    stream,
    versions,
)
from service.api.routes.exchange import export, imports
from service.api.routes.labels import (
    batches,
    classes,
    erasures,
    feedback,
    feedback_batch,
    lost_images,
)
from service.api.routes.oip import infer as oip_infer
from service.api.routes.oip import metadata as oip_metadata
from service.api.routes.review import (
    comparison,
    examples,
    images,
    insights,
    lineage,
    predictions,
    queue,
)
from service.api.status.streams import Streams
from service.api.unexpected import ANY_PATH, refuse_unexpected

_REFUSED = ("OPTIONS", "TRACE")


def create_app(settings: Settings) -> FastAPI:
    """The routes. They respond with 503 until `app.state.serving` is set."""
    app = FastAPI(
        title="Evergreen",
        version=release(),
        description="A classifier of images or texts that keeps learning from its users.",
        docs_url=None,  # its page loads scripts from the web
        redoc_url=None,
        dependencies=[Depends(refuse_unexpected)],
        responses={status: {"model": Problem} for status in problems.DOCUMENTED},
    )
    problems.install(app)
    all_routes = (
        predict,
        feedback,
        feedback_batch,
        batches,
        classes,
        runs,
        versions,
        comparison,
        lineage,
        examples,
        predictions,
        images,
        champion,
        queue,
        lost_images,
        erasures,
        imports,
        export,
        insights,
        status,
        stream,
        events,
        session,
        oip_metadata,
        oip_infer,
        page,
        bentoml,
    )
    for module in all_routes:
        app.include_router(module.router)

    # Last, so that what no other route takes is refused with a problem of ours.
    @app.api_route(ANY_PATH, methods=[*METHODS, *_REFUSED], include_in_schema=False)
    def nothing(request: Request, path: str) -> None:
        allowed = _allowed_methods(app, request)
        if allowed and request.method not in allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(allowed)})
        raise HTTPException(404)

    generate = app.openapi

    @functools.cache
    def document(has_started: bool) -> dict[str, Any]:
        described = add_keys(copy.deepcopy(generate()))
        if has_started:
            input_contract.of_home(described, app.state.serving.store.kind)
        return described

    # Until the service has started, the kind of its home is not known.
    app.openapi = lambda: document(_has_started(app))  # type: ignore[method-assign]
    app.state.sessions = Sessions(settings)
    app.state.streams = Streams()
    app.add_middleware(RequestMiddleware, state=app.state, max_bytes=settings.max_body_bytes)
    app.add_middleware(Gate, state=app.state, settings=settings)  # the last one is the first
    return app


def _has_started(app: FastAPI) -> bool:
    return getattr(app.state, "serving", None) is not None


def build_routes(app: FastAPI) -> None:
    """Do what FastAPI leaves to the first request, whose event loop it keeps busy for 0.1 s."""
    for _ in iter_route_contexts(app.routes):
        pass


def _allowed_methods(app: FastAPI, request: Request) -> list[str]:
    fixed = methods_of_fixed(request.scope["path"])
    if fixed:
        return fixed
    allowed = set()
    for method in METHODS:
        scope = dict(request.scope, method=method)
        for route in app.routes[:-1]:
            match, _ = route.matches(scope)
            if match.value == 2:  # Match.FULL
                allowed.add(method)
    if "GET" in allowed:
        allowed.add("HEAD")  # `request_middleware.py` turns it into GET
    return sorted(allowed)
