"""The Open Inference Protocol v2, for clients that know any server of it, `tritonclient` for one:
its `infer`. What it says of itself is in `service/api/routes/oip_metadata.py`.

Its errors are `{"error": ...}`; `service/api/problems.py` sees to that, by the path.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from service.api.dependencies import DeadlineDep, ServingDep, TicketDep
from service.api.problems import DOCUMENTED, ProtocolError
from service.api.routes.oip_metadata import known
from service.inference.serving_process import ServingProcess
from service.oip import infer as oip
from service.oip import messages
from service.oip.infer import MODEL
from service.oip.messages import HEADER_LENGTH
from service.traffic.admission import Deadline, Ticket

router = APIRouter(
    tags=["inference protocol"],
    dependencies=[Depends(known)],
    responses={status: {"model": ProtocolError} for status in DOCUMENTED},
)

_TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": _TENSOR},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
            },
        },
    },
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}
# JSON, and JSON followed by binary data.
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_INFER: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "The tensors.",
            "content": {
                "application/json": {"schema": _ANSWER},
                "application/octet-stream": _BINARY,
            },
        }
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _REQUEST},
                "application/octet-stream": _BINARY,
            },
        }
    },
}


@router.post("/v2/models/{model}/infer", **_INFER)
async def infer(
    request: Request, serving: ServingDep, ticket: TicketDep, deadline: DeadlineDep
) -> Response:
    """Classify a batch. Nothing is recorded: what is to be corrected later goes to /v1/predict."""
    return await _infer(request, serving, ticket, deadline, None)


@router.post("/v2/models/{model}/versions/{version}/infer", **_INFER)
async def infer_with_version(
    request: Request,
    serving: ServingDep,
    ticket: TicketDep,
    deadline: DeadlineDep,
    version: str,
) -> Response:
    """Classify with this version, or answer 404 if another one answers in this process."""
    return await _infer(request, serving, ticket, deadline, version)


async def _infer(
    request: Request,
    serving: ServingProcess,
    ticket: Ticket,
    deadline: Deadline | None,
    version: str | None,
) -> Response:
    headers = request.headers
    body = await request.body()
    encoding = headers.get("content-encoding", "")
    if encoding:
        body = await serving.predictor.compute(
            messages.decompress, body, encoding, serving.settings.max_body_bytes
        )
    asked = await serving.predictor.compute(messages.read, body, headers.get(HEADER_LENGTH))
    # IntakeResult once: all of an answer is of one version.
    servable = await oip.servable_of(serving, version)
    outputs = await oip.infer(serving, servable, asked, ticket, deadline)
    content, json_length = await serving.predictor.compute(
        messages.write, MODEL, servable.version, asked.id, outputs
    )
    if json_length is None:
        return Response(content, media_type="application/json")
    return Response(
        content,
        media_type="application/octet-stream",
        headers={HEADER_LENGTH: str(json_length)},
    )
