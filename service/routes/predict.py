"""POST /v1/predict: an image in, a label out."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.answers import PredictionAnswer
from service.bodies import read_image
from service.deps import ServingDep

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
                    "properties": {"image": _IMAGE},
                }
            },
        },
    }
}


@router.post("/v1/predict", response_model=PredictionAnswer, openapi_extra=_BODY)
async def predict(
    request: Request,
    serving: ServingDep,
    top: Annotated[int, Query(ge=1, le=1000, description="How many classes to list.")] = 5,
) -> Response:
    """Classify an image with the champion. Keep the `prediction_id`: it takes a correction."""
    body = await read_image(request)
    answer = await serving.predict(body.image)
    # Serialised here, once: the framework would validate our own answer again.
    return Response(
        PredictionAnswer.of(answer, top).model_dump_json(),
        media_type="application/json",
        headers=_WORKER,
    )
