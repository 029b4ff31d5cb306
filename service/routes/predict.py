"""POST /v1/predict: images in, labels out."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.answers import PredictionAnswer, PredictionList
from service.bodies import read_images
from service.departures import unless_gone
from service.deps import DeadlineDep, ServingDep

router = APIRouter(tags=["predict"])

# Which process answered: what one needs to see that a swap has reached them all.
_WORKER = {"Evergreen-Worker": str(os.getpid())}

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


@router.post("/v1/predict", response_model=PredictionAnswer | PredictionList, openapi_extra=_BODY)
async def predict(
    request: Request,
    serving: ServingDep,
    deadline: DeadlineDep,
    top: Annotated[int, Query(ge=1, le=1000, description="How many classes to list.")] = 5,
    version: Annotated[
        int | None,
        Query(description="Answer with this version, which must be loaded; not the champion."),
    ] = None,
) -> Response:
    """Classify an image with the champion, or several: then `items` answers each of them, in order.

    Keep the `prediction_id`: it takes a correction.
    """
    images = await read_images(request)
    answered: PredictionAnswer | PredictionList
    if len(images) == 1:
        one = await unless_gone(request, serving, serving.predict(images[0], deadline, version))
        answered = PredictionAnswer.of(one, top)
    else:
        several = serving.predict_many(images, deadline, version)
        answered = PredictionList.of(await unless_gone(request, serving, several), top)
    # Serialised here, once: the framework would validate our own answer again.
    return Response(answered.model_dump_json(), media_type="application/json", headers=_WORKER)
