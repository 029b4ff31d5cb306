"""What BentoML's clients and orchestrators expect: `/predict`, its schema, and the probes.

BentoML has such routes too. Ours take its place, because they refuse what they do not take, read
bodies within limits, and need no thread.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from core.errors import InvalidRequest, NotReady
from service.api.dependencies import DeadlineDep, ServingDep, TicketDep
from service.api.input_bodies import read_inputs
from service.api.request_bodies import FORM, JSON, media_type
from service.api.routes.predict import DEFAULT_TOP, predict_one

PATH = "/predict"
# Bodies of these types are never an input themselves. Any other type is taken: BentoML's clients
# send an image as `text/plain`, too.
_NOT_RAW = (FORM, "application/x-www-form-urlencoded", "application/vnd.bentoml+pickle")

router = APIRouter(include_in_schema=False)


@router.post(PATH)
async def predict(
    request: Request, serving: ServingDep, ticket: TicketDep, deadline: DeadlineDep
) -> Response:
    """Classify an input, for BentoML's own clients. Others use POST /v1/predict."""
    kind, content_type = serving.store.kind, media_type(request)
    is_json = content_type == JSON and kind.wire.json_field is not None
    if content_type not in _NOT_RAW and not is_json:
        content = await request.body()
    else:
        inputs = await read_inputs(request, kind)
        if inputs.is_list:
            raise InvalidRequest(
                f"the body has {len(inputs.contents)} {kind.plural}, and {PATH} takes one; "
                "POST /v1/predict takes more"
            )
        content = inputs.first
    return await predict_one(serving, content, ticket, deadline, DEFAULT_TOP, None)


@router.get("/schema.json")
def schema(request: Request) -> Response:
    """What BentoML's clients read first."""
    described: dict[str, Any] | None = getattr(request.app.state, "bentoml_schema", None)
    if described is None:  # another server than BentoML's
        raise HTTPException(404)
    return JSONResponse(described)


@router.get("/livez")
@router.get("/healthz")
async def live() -> Response:
    return PlainTextResponse("\n")


@router.get("/readyz")
async def ready(serving: ServingDep) -> Response:
    """Whether a version is loaded, and the server does not end."""
    serving.slot.current()
    if serving.drain.is_on:
        raise NotReady("the server ends; send requests to another one")
    return PlainTextResponse("\n")
