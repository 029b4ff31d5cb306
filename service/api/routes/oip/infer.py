"""`infer` of the Open Inference Protocol v2, for any client of it, such as `tritonclient`.

Its metadata is in `service/api/routes/oip/metadata.py`. Its errors are `{"error": ...}`, which
`service/api/problems.py` chooses by the path.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from service.api.dependencies import DeadlineDep, ServingDep, TicketDep
from service.api.problems import DOCUMENTED, ProtocolError, schema_of
from service.api.routes.oip.metadata import require_model
from service.inference.serving_process import ServingProcess
from service.oip import infer as oip
from service.oip import messages
from service.oip.messages import HEADER_LENGTH, InferenceRequest, InferenceResponse
from service.oip.specs import MODEL
from service.traffic.admission import Deadline, Ticket

router = APIRouter(
    tags=["inference protocol"],
    dependencies=[Depends(require_model)],
    responses={status: {"model": ProtocolError} for status in DOCUMENTED},
)

# JSON, and JSON followed by binary data.
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_INFER: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"model": InferenceResponse, "description": "The tensors.", "content": _BINARY}
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema_of(InferenceRequest)}, **_BINARY},
        }
    },
}


@router.post("/v2/models/{model}/infer", **_INFER)
async def infer(
    request: Request, serving: ServingDep, ticket: TicketDep, deadline: DeadlineDep
) -> Response:
    """Classify a batch. Nothing is recorded: to correct a prediction later, use /v1/predict."""
    return await _infer(request, serving, ticket, deadline, None)


@router.post("/v2/models/{model}/versions/{version}/infer", **_INFER)
async def infer_with_version(
    request: Request,
    serving: ServingDep,
    ticket: TicketDep,
    deadline: DeadlineDep,
    version: str,
) -> Response:
    """Classify with this version, or answer 404 if this process has not loaded it."""
    return await _infer(request, serving, ticket, deadline, version)


async def _infer(
    request: Request,
    serving: ServingProcess,
    ticket: Ticket,
    deadline: Deadline | None,
    version: str | None,
) -> Response:
    headers = request.headers
    body = oip.Body(
        await request.body(), headers.get("content-encoding", ""), headers.get(HEADER_LENGTH)
    )
    # Chosen once: all of a response comes from one version.
    servable = await oip.find_servable(serving, version)
    prepared = await serving.predictor.compute(
        oip.prepare, body, servable.manifest, serving.settings.max_body_bytes, deadline=deadline
    )
    outputs = await oip.infer(serving, servable, prepared, ticket, deadline)
    content, json_length = await serving.predictor.compute(
        messages.write, MODEL, servable.version, prepared.id, outputs
    )
    if json_length is None:
        return Response(content, media_type="application/json")
    return Response(
        content,
        media_type="application/octet-stream",
        headers={HEADER_LENGTH: str(json_length)},
    )
