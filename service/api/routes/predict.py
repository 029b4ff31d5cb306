"""POST /v1/predict: images in, labels out."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.api.dependencies import DeadlineDep, ServingDep, TicketDep
from service.api.disconnect import unless_gone
from service.api.request_bodies import read_images
from service.api.schemas import PredictionAnswer, PredictionList
from service.inference.predictor import Serving
from service.traffic.admission import Deadline, Ticket

PATH = "/v1/predict"
_TOP = 5

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


@router.post(PATH, response_model=PredictionAnswer | PredictionList, openapi_extra=_BODY)
async def predict(
    request: Request,
    serving: ServingDep,
    ticket: TicketDep,
    deadline: DeadlineDep,
    top: Annotated[int, Query(ge=1, le=1000, description="How many classes to list.")] = _TOP,
    version: Annotated[
        int | None,
        Query(description="Answer with this version, which must be loaded; not the champion."),
    ] = None,
) -> Response:
    """Classify an image with the champion, or several: then `items` answers each of them, in order.

    Keep the `prediction_id`: it takes a correction.
    """
    images = await read_images(request)
    if len(images) == 1:
        return await answer_one(request, serving, images[0], ticket, deadline, top, version)
    ticket.resize(len(images))
    several = serving.predict_many(images, deadline, version)
    answers = await unless_gone(request.receive, serving, several)
    return _response(_body(PredictionList.of(answers, top)))


async def answer_one(
    request: Request,
    serving: Serving,
    image: bytes,
    ticket: Ticket,
    deadline: Deadline | None = None,
    top: int = _TOP,
    version: int | None = None,
) -> Response:
    """Raises as `Serving.predict` does."""
    # Which versions others have loaded is not known here.
    if serving.sharing is not None and version is None:
        shared = await serving.sharing.elsewhere(image, ticket, deadline, top)
        if shared is not None:
            return _response(shared.body, shared.pid)
    one = await unless_gone(request.receive, serving, serving.predict(image, deadline, version))
    return _response(_body(PredictionAnswer.of(one, top)))


async def answer_shared(
    serving: Serving, image: bytes, deadline: Deadline | None, top: int
) -> bytes:
    """The body of the answer to a client of another process. Raises as `Serving.predict` does."""
    one = await serving.predict(image, deadline)
    return _body(PredictionAnswer.of(one, top))


def _body(answered: PredictionAnswer | PredictionList) -> bytes:
    # Serialised here, once: the framework would validate our own answer again.
    return answered.model_dump_json().encode()


def _response(body: bytes, pid: int = _PID) -> Response:
    # Which process answered: what one needs to see that a swap has reached them all.
    return Response(body, media_type="application/json", headers={"Evergreen-Worker": str(pid)})
