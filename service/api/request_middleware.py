"""What happens to every request before its route: it is measured, its body is read within limits,
and work on inputs is admitted: predictions, and labels that bring their input in a form.

The route of a prediction finds its ticket in the state of the request (`dependencies.ticket_of`).
The plainest predictions do not go through the framework, which would cost 7 % of the throughput:
one input as the body, without parameters and without a timeout.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable

from starlette.datastructures import State
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import EvergreenError
from service import metrics
from service.api import (
    input_bodies,
    json_bodies,
    problems,
    request_bodies,
    request_ids,
    unread_bodies,
    uploads,
)
from service.api.disconnect import cancel_on_disconnect
from service.api.routes import bentoml
from service.api.routes.predict import DEFAULT_TOP, PATH, predict_one
from service.api.unexpected import ANY_PATH
from service.traffic.admission import TIMEOUT_HEADER, Admission, Ticket

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PREDICT_PATHS = (PATH, bentoml.PATH)
_FEEDBACK_PATH = "/v1/feedback"
_FORM = request_bodies.FORM.encode()
_TIMEOUT_HEADER = TIMEOUT_HEADER.lower().encode()


class RequestMiddleware:
    """ASGI. `state` is that of the app, and gets its `serving` when the service has started."""

    def __init__(self, app: ASGIApp, state: State, max_bytes: int) -> None:
        self._app = app
        self._state = state
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif unread_bodies.closes(scope) or self._is_draining():
            await unread_bodies.respond_then_read(self._handle, scope, receive, send)
        else:
            await self._handle(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        started = time.perf_counter()
        status = 500
        ticket: Ticket | None = None

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._is_draining():  # so that a client sends its next request elsewhere
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
                if ticket is not None:  # the client may take its time to read the response
                    ticket.release()
            await send(message)

        try:
            work: Awaitable[None]
            if _is_upload(scope):  # its route writes the body to a file, as it comes
                await uploads.stop_timeout(send)
                await self._app(scope, receive, respond)
                return
            body, ticket = await self._read_and_admit(scope, receive)
            if ticket is not None and self._is_plain(scope):
                work = self._predict(scope, body, ticket, respond)
            else:
                work = self._app(scope, request_bodies.replay(body, receive), respond)
            # A label is finished: its client may have gone, but its user has given it.
            is_prediction = ticket is not None and scope["path"] != _FEEDBACK_PATH
            if is_prediction and self._state.serving.is_batching:
                await cancel_on_disconnect(receive, work)
            else:
                await work
        except EvergreenError as error:
            response = problems.to_response(error, scope["path"], request_ids.of_scope(scope))
            await response(scope, receive, respond)
        except ClientDisconnect:  # nobody reads a response
            status = 400
        finally:
            if ticket is not None:
                ticket.release()
            method = scope["method"] if scope["method"] in METHODS else "other"
            metrics.count(_route(scope), method, status, time.perf_counter() - started)

    def _is_draining(self) -> bool:
        serving = getattr(self._state, "serving", None)
        return serving is not None and serving.drain.is_on

    async def _predict(self, scope: Scope, content: bytes, ticket: Ticket, send: Send) -> None:
        serving = self._state.serving
        response = await predict_one(serving, content, ticket, None, DEFAULT_TOP, None)
        await response(scope, _receive_nothing, send)

    async def _read_and_admit(self, scope: Scope, receive: Receive) -> tuple[bytes, Ticket | None]:
        """Raises BodyTooLarge, SlowBody, Overloaded, InvalidRequest, UnsupportedMediaType,
        ClientDisconnect."""
        length, timeout_s = _announced(scope)
        admission = self._admission(scope)
        if admission is not None:  # a request that would be refused now need not be read
            admission.check(timeout_s)
        body = await request_bodies.read_body(receive, length, self._max_bytes)
        body = request_bodies.checked(scope, body, length, self._json_limits(scope["path"]))
        if admission is None:
            return body, None
        # Not before the body is there: slow clients would keep others out.
        ticket = admission.reserve(timeout_s)
        scope.setdefault("state", {})["ticket"] = ticket
        return body, ticket

    def _admission(self, scope: Scope) -> Admission | None:
        """None if the request brings no input to decode, or if the service is starting."""
        path: str = scope["path"]
        has_input = scope["method"] == "POST" and (
            path in _PREDICT_PATHS
            or (path.startswith("/v2/") and path.endswith("/infer"))
            or (path == _FEEDBACK_PATH and _is_form(scope))
        )
        serving = getattr(self._state, "serving", None)
        return serving.admission if has_input and serving is not None else None

    def _json_limits(self, path: str) -> json_bodies.Limits | None:
        """None: what the route takes is no JSON."""
        serving = getattr(self._state, "serving", None)
        if serving is not None and serving.store.kind.wire.json_field is not None:
            return json_bodies.limits_of(path, serving.limits.max_characters)
        return None if path in _PREDICT_PATHS else json_bodies.limits_of(path, 0)

    def _is_plain(self, scope: Scope) -> bool:
        """Raises UnsupportedMediaType."""
        if scope["path"] != PATH or scope["query_string"]:
            return False
        is_raw = False
        for name, value in scope["headers"]:
            if name == _TIMEOUT_HEADER:
                return False
            if name == b"content-type":
                wire = self._state.serving.store.kind.wire
                is_raw = input_bodies.is_raw(value.decode("latin-1"), wire)
        return is_raw


def _without_body(send: Send) -> Send:
    """Send what a GET would, up to its body. So a stream ends before its first event."""

    async def send_start(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_start


def _is_upload(scope: Scope) -> bool:
    is_path: bool = scope["path"] == uploads.PATH
    return is_path and scope["method"] == "POST"


def _is_form(scope: Scope) -> bool:
    return any(
        name == b"content-type" and value.lower().startswith(_FORM)
        for name, value in scope["headers"]
    )


async def _receive_nothing() -> Message:
    return {"type": "http.disconnect"}


def _announced(scope: Scope) -> tuple[int | None, float | None]:
    """The length of the body, and after how many seconds the client gives up."""
    length: int | None = None
    timeout_s: float | None = None
    for name, value in scope["headers"]:
        # The route refuses what is not a number, and says why.
        if not value.isdigit():
            continue
        if name == b"content-length":
            length = int(value)
        elif name == _TIMEOUT_HEADER and len(value) < 9:
            timeout_s = int(value) / 1000
    return length, timeout_s


def _route(scope: Scope) -> str:
    """The template of the route, so that there are few; `other` if no route took the request."""
    template = getattr(scope.get("route"), "path", None)
    if template is None and scope["path"] in _PREDICT_PATHS:
        return str(scope["path"])
    return template if isinstance(template, str) and template != ANY_PATH else "other"
