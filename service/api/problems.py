"""Errors as HTTP responses: RFC 9457 `application/problem+json`, and under `/v2` the error object
of the Open Inference Protocol."""

from __future__ import annotations

import http
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from core import errors
from core.errors import EvergreenError, describe_invalid
from service import metrics
from service.api import request_ids

MEDIA_TYPE = "application/problem+json"
DOCUMENTED: tuple[int | str, ...] = ("4XX", "5XX")

_STATUS: dict[type[EvergreenError], int] = {
    errors.UndecodableImage: 422,
    errors.ImageTooLarge: 422,
    errors.ImageTooCostly: 422,
    errors.UndecodableText: 422,
    errors.TextTooLong: 422,
    errors.InvalidLabel: 422,
    errors.InvalidRequest: 422,
    errors.InvalidArchive: 422,
    errors.IdempotencyConflict: 422,
    errors.SlowBody: 408,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnknownPrediction: 404,
    errors.UnknownFeedback: 404,
    errors.UnknownExample: 404,
    errors.UnknownBatch: 404,
    errors.UnknownClass: 404,
    errors.UnknownRun: 404,
    errors.UnknownVersion: 404,
    errors.UnknownModel: 404,
    errors.UnknownImport: 404,
    errors.OtherKind: 404,
    errors.KeyRequired: 401,
    errors.RoleRequired: 403,
    errors.ForeignOrigin: 403,
    errors.QuotaExceeded: 429,
    errors.UnknownHost: 421,
    errors.NoClasses: 409,
    errors.NotEnoughLabels: 409,
    errors.ClassTaken: 409,
    errors.RunFinished: 409,
    errors.ImportFinished: 409,
    errors.PromotionFailed: 409,
    errors.VersionNotLoaded: 409,
    errors.ImageNotKept: 409,
    errors.VersionRetired: 409,
    errors.ImageLost: 410,
    errors.PromotionConflict: 412,
    errors.NotReady: 503,
    errors.Overloaded: 503,
    errors.DeadlineExceeded: 504,
    errors.StoreError: 503,
    errors.DiskFull: 507,
}
_TRY_AGAIN_AFTER_S = "1"

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str = Field(examples=["urn:evergreen:problem:undecodable-image"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(description="What is wrong, the limit, and what to do about it.")
    code: str = Field(description="Stable; made for programs.", examples=["undecodable-image"])


class ProtocolError(BaseModel):
    """An error, as the Open Inference Protocol v2 has it."""

    error: str = Field(description="What is wrong, the limit, and what to do about it.")


def status_of(error: EvergreenError) -> int:
    for cls in type(error).__mro__:
        if cls in _STATUS:
            return _STATUS[cls]
    return 500


def problem(status: int, code: str, detail: str, path: str = "", **headers: str) -> JSONResponse:
    """The error, in the form of the API that the path belongs to."""
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = _TRY_AGAIN_AFTER_S
    if _is_of_protocol(path):
        # The protocol has one status for everything that is wrong with the content of a request.
        status = 400 if status == http.HTTPStatus.UNPROCESSABLE_ENTITY else status
        return JSONResponse(ProtocolError(error=detail).model_dump(), status, headers)
    body = _shape(status, code, detail)
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)


def to_response(error: EvergreenError, path: str, request_id: str | None) -> JSONResponse:
    _note(error, request_id)
    return problem(status_of(error), error.code, _detail(error), path, **_headers(error))


def _headers(error: EvergreenError) -> dict[str, str]:
    if isinstance(error, errors.KeyRequired):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, errors.QuotaExceeded):
        return {"Retry-After": str(error.retry_after_s)}
    return {}


def _is_of_protocol(path: str) -> bool:
    return path == "/v2" or path.startswith("/v2/")


def to_problem(error: EvergreenError) -> Problem:
    """The problem itself, as a part of a response."""
    _note(error, None)
    return _shape(status_of(error), error.code, _detail(error))


def _detail(error: EvergreenError) -> str:
    """What a client is told. A driver's text may name users, hosts, paths and statements."""
    if isinstance(error, errors.DiskFull):
        return "the server's disk is full, so nothing was stored: free some of it, then send again"
    if isinstance(error, errors.StoreError):
        return "the store cannot be used at the moment, and the server's log says why; try again"
    return str(error)


def _note(error: EvergreenError, request_id: str | None) -> None:
    """Count refusals, of which there are thousands under load; log what is wrong with us."""
    if isinstance(error, errors.Overloaded):
        metrics.shed.inc()
    elif isinstance(error, errors.DeadlineExceeded):
        metrics.deadlines_exceeded.inc()
    elif status_of(error) >= 500:
        log.error(
            "request.failed",
            extra={"error": str(error), "request_id": request_id},
            exc_info=error,
        )


def _shape(status: int, code: str, detail: str) -> Problem:
    return Problem(
        type=f"urn:evergreen:problem:{code}",
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
    )


def install(app: FastAPI) -> None:
    generate = app.openapi
    app.openapi = lambda: _documented(generate())  # type: ignore[method-assign]

    @app.exception_handler(EvergreenError)
    async def _evergreen(request: Request, error: EvergreenError) -> JSONResponse:
        return to_response(error, request.url.path, request_ids.of_scope(request.scope))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI puts the part of the request first: body, query, path.
        problems = [dict(each, loc=each["loc"][1:] or each["loc"]) for each in error.errors()]
        detail = "; ".join(map(describe_invalid, problems))
        return problem(422, "invalid-request", detail, request.url.path)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        code = http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is nothing at {request.url.path[:200]}; /openapi.json says what is"
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            detail = f"{request.method} is not for {request.url.path[:200]}; use {allowed}"
        headers = dict(error.headers or {})
        return problem(error.status_code, code, detail, request.url.path, **headers)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        request_id = request_ids.of_scope(request.scope)
        log.error("request.crashed", extra={"request_id": request_id}, exc_info=error)
        detail = "something is wrong in the service; its log says what"
        return problem(500, "internal-error", detail, request.url.path)


def schema_of(body: type[BaseModel]) -> dict[str, Any]:
    """Of a body that a route reads itself, for its `openapi_extra`."""
    return body.model_json_schema(ref_template="#/components/schemas/{model}")


def _documented(document: dict[str, Any]) -> dict[str, Any]:
    """Add what FastAPI leaves out: the schemas that `schema_of` refers to, and the media type of
    errors, for which it takes that of the route's other responses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, item in document["paths"].items():
        for operation in item.values():
            for body in operation.get("requestBody", {}).get("content", {}).values():
                document["components"]["schemas"] |= body["schema"].pop("$defs", {})
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                _drop_null(parameter["schema"])
        if _is_of_protocol(path):
            continue
        for operation in item.values():
            for status in DOCUMENTED:
                operation["responses"][status]["content"] = content
    return document


def _drop_null(schema: dict[str, Any]) -> None:
    """What need not be sent has no null: in a query or a header it would be the word."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema |= kinds[0]
