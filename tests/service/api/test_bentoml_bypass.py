"""What of a request comes past BentoML's own layers, and how the shortcut comes before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.bentoml_bypass import Shortcut


def scope_of(path: str, **headers: str) -> Scope:
    fields = [(name.encode(), text.encode()) for name, text in headers.items()]
    return {"type": "http", "method": "POST", "path": path, "headers": fields}


async def receive() -> Message:
    raise AssertionError("nobody reads")


async def send(message: Message) -> None:
    raise AssertionError("nobody answers")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (scope_of("/v1/predict"), "ours"),
        (scope_of("/v2/models/evergreen/infer"), "ours"),
        (scope_of("/v1/predict", origin="https://example.org"), "bentoml"),
        (scope_of("/predict"), "bentoml"),
        (scope_of("/readyz"), "bentoml"),
        ({"type": "lifespan"}, "bentoml"),
    ],
)
def test_what_is_ours_comes_past_the_router(scope: Scope, expected: str) -> None:
    found: list[str] = []

    def named(name: str) -> Any:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            found.append(name)

        return app

    asyncio.run(Shortcut(named("bentoml"), named("ours"))(scope, receive, send))
    assert found == [expected]


def test_from_the_start_on_it_comes_before_the_layers_that_it_was_put_behind() -> None:
    seen: list[str] = []

    class Layer:
        """As BentoML's are: around all that it serves."""

        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                seen.append(scope["path"])
            await self._app(scope, receive, send)

    def answering(text: str) -> Callable[[Any], PlainTextResponse]:
        return lambda _: PlainTextResponse(text)

    ours = Starlette(routes=[Route("/v1/predict", answering("ours"))])
    outermost = Starlette(
        routes=[Route("/{path:path}", answering("bentoml"))],
        middleware=[Middleware(Layer), Middleware(Shortcut, ours=ours)],
    )
    with TestClient(outermost) as client:
        assert client.get("/v1/predict").text == "ours"
        assert client.get("/v1/predict", headers={"Origin": "https://a.org"}).text == "bentoml"
        assert client.get("/readyz").text == "bentoml"
    assert seen == ["/v1/predict", "/readyz"]
    with TestClient(outermost) as client:  # started again, it is there once
        client.get("/v1/predict")
    assert isinstance(outermost.middleware_stack, Shortcut)
    assert not isinstance(outermost.middleware_stack._app, Shortcut)
