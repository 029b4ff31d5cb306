"""The fast lane: a prediction that asks for nothing but an answer passes the framework by.

Most predictions are one image as the body. Finding the route of a request, checking its parameters
and passing each of its messages through five layers is half of what it costs the event loop. All
others go the documented way (`service/api/app.py`, `service/api/routes/predict.py`), which makes
the same answer.
"""

from __future__ import annotations

import time

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from core.errors import EvergreenError
from service import metrics
from service.api import problems, request_bodies
from service.api.routes import predict
from service.inference.predictor import Serving
from service.traffic.admission import TIMEOUT_HEADER

_TIMEOUT_HEADER = TIMEOUT_HEADER.lower().encode()


class FastLane:
    """ASGI, before the app: answers plain predictions in its place."""

    def __init__(self, app: FastAPI, max_bytes: int) -> None:
        """Of the app it takes what it answers with: `app.state.serving`."""
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serving: Serving | None = None
        if is_plain(scope, self._max_bytes):
            serving = getattr(self._app.state, "serving", None)
        if serving is None:
            await self._app(scope, receive, send)  # which says so
        else:
            await self._predict(serving, receive, send)

    async def _predict(self, serving: Serving, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = 500
        try:
            try:
                # Twice: before its body comes, and, as many may have come at once, by `predict`.
                serving.admission.check()
                image = await request_bodies.read_whole(receive)
                response = await predict.answer_one(receive, serving, image)
            except EvergreenError as error:
                response = problems.answer_to(error, predict.PATH)
            except ClientDisconnect:
                status = 400  # nobody reads an answer
                return
            except Exception as error:
                response = problems.unexpected(error, predict.PATH)
            status = response.status_code
            await send(
                {"type": "http.response.start", "status": status, "headers": response.raw_headers}
            )
            await send({"type": "http.response.body", "body": response.body})
        finally:
            metrics.count(predict.PATH, "POST", status, time.perf_counter() - started)


def is_plain(scope: Scope, max_bytes: int) -> bool:
    """Whether it is one image as the body, of a length that is told and allowed, without parameters
    or a deadline."""
    if scope["type"] != "http" or scope["path"] != predict.PATH or scope["method"] != "POST":
        return False
    is_image = has_length = False
    for name, value in scope["headers"]:
        if name == b"content-type":
            is_image = request_bodies.is_raw(value.decode("latin-1"))
        elif name == b"content-length":
            has_length = value.isdigit() and int(value) <= max_bytes
        elif name == _TIMEOUT_HEADER:
            return False
    return is_image and has_length and not scope["query_string"]
