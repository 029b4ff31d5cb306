"""POST /v1/predict: images in, labels out."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.api.dependencies import TimeoutHeader, deadline_of, serving_of, ticket_of
from service.api.request_bodies import read_images
from service.api.schemas.bodies import Limit, PredictionList, PredictionResponse, WholeNumber
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Deadline, Ticket

PATH = "/v1/predict"
DEFAULT_TOP = 5

router = APIRouter(tags=["predict"])

_PID = os.getpid()

_IMAGE: dict[str, Any] = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": _IMAGE},
            "application/octet-stream": {"schema": _IMAGE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"oneOf": [_IMAGE, {"type": "array", "items": _IMAGE}]}
                    },
                }
            },
        },
    }
}


@router.post(PATH, response_model=PredictionResponse | PredictionList, openapi_extra=_BODY)
async def predict(
    request: Request,
    x_request_timeout_ms: TimeoutHeader = None,
    top: Annotated[Limit, Query(description="How many classes to list.")] = DEFAULT_TOP,
    version: Annotated[
        WholeNumber | None,
        Query(description="Predict with this loaded version instead of the champion."),
    ] = None,
) -> Response:
    """Classify an image with the champion. For several images, `items` has a prediction of each.

    Keep the `prediction_id` to label the image later.
    """
    # Called here, because FastAPI takes 20 µs for each dependency that it solves.
    serving, ticket = await serving_of(request), await ticket_of(request)
    deadline = await deadline_of(x_request_timeout_ms)
    images = await read_images(request)
    if len(images) == 1:
        return await predict_one(serving, images[0], ticket, deadline, top, version)
    ticket.resize(len(images))
    servable = await serving.predictor.servable(version)
    results = await serving.predictor.predict_many(servable, images, deadline)
    return _response(_body(PredictionList.from_records(results, top)))


async def predict_one(
    serving: ServingProcess,
    image: bytes,
    ticket: Ticket,
    deadline: Deadline | None,
    top: int,
    version: int | None,
) -> Response:
    """Raises as `predict_here` does."""
    # It is not known here which versions other workers have loaded.
    if serving.forwarder is not None and version is None:
        forwarded = await serving.forwarder.try_forward(image, ticket, deadline, top)
        if forwarded is not None:
            return _response(forwarded.body, forwarded.pid)
    return _response(await predict_here(serving, image, deadline, top, version))


async def predict_here(
    serving: ServingProcess,
    image: bytes,
    deadline: Deadline | None,
    top: int,
    version: int | None = None,
) -> bytes:
    """The body of the response, for a client of this worker or of another one.

    Raises UndecodableImage, ImageTooLarge, DeadlineExceeded, NotReady, VersionNotLoaded,
    StoreError.
    """
    servable = await serving.predictor.servable(version)
    result = await serving.predictor.predict(servable, image, deadline)
    return _body(PredictionResponse.from_record(result, top))


def _body(response: PredictionResponse | PredictionList) -> bytes:
    # Serialised here, because FastAPI would validate our own response again.
    return response.model_dump_json().encode()


def _response(body: bytes, pid: int = _PID) -> Response:
    # The process that predicted, so that a client can see when a swap has reached all workers.
    return Response(body, media_type="application/json", headers={"Evergreen-Worker": str(pid)})
