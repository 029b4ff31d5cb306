"""POST /v1/predict: images or texts in, labels out."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from core.inputs import kinds
from service.api import input_contract
from service.api.dependencies import TimeoutHeader, deadline_of, serving_of, ticket_of
from service.api.input_bodies import read_inputs
from service.api.schemas.bodies import Limit, WholeNumber
from service.api.schemas.predictions import PredictionList, PredictionResponse
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Deadline, Ticket

PATH = "/v1/predict"
DEFAULT_TOP = 5

router = APIRouter(tags=["predict"])

_PID = os.getpid()


@router.post(
    PATH,
    response_model=PredictionResponse | PredictionList,
    openapi_extra=input_contract.of_predict(kinds.ALL),
)
async def predict(
    request: Request,
    x_request_timeout_ms: TimeoutHeader = None,
    top: Annotated[Limit, Query(description="How many classes to list.")] = DEFAULT_TOP,
    version: Annotated[
        WholeNumber | None,
        Query(description="Predict with this loaded version instead of the champion."),
    ] = None,
) -> Response:
    """Classify an image or a text with the champion: a home takes one of them. For several of
    them, `items` has a prediction of each.

    Keep the `prediction_id` to label it later.
    """
    # Called here, because FastAPI takes 20 µs for each dependency that it solves.
    serving, ticket = await serving_of(request), await ticket_of(request)
    deadline = await deadline_of(x_request_timeout_ms)
    inputs = await read_inputs(request, serving.store.kind)
    if not inputs.is_list:
        return await predict_one(serving, inputs.first, ticket, deadline, top, version)
    servable = await serving.predictor.servable(version)
    results = await serving.predictor.predict_many(servable, inputs.contents, ticket, deadline)
    return _response(_body(PredictionList.from_records(results, top)))


async def predict_one(
    serving: ServingProcess,
    content: bytes,
    ticket: Ticket,
    deadline: Deadline | None,
    top: int,
    version: int | None,
) -> Response:
    """Raises as `predict_here` does."""
    # It is not known here which versions other workers have loaded.
    if serving.forwarder is not None and version is None:
        forwarded = await serving.forwarder.try_forward(content, ticket, deadline, top)
        if forwarded is not None:
            return _response(forwarded.body, forwarded.pid)
    return _response(await predict_here(serving, content, deadline, top, version))


async def predict_here(
    serving: ServingProcess,
    content: bytes,
    deadline: Deadline | None,
    top: int,
    version: int | None = None,
) -> bytes:
    """The body of the response, for a client of this worker or of another one.

    Raises InputError, NoClasses, DeadlineExceeded, NotReady, VersionNotLoaded, StoreError.
    """
    servable = await serving.predictor.servable(version)
    result = await serving.predictor.predict(servable, content, deadline)
    return _body(PredictionResponse.from_record(result, top))


def _body(response: PredictionResponse | PredictionList) -> bytes:
    # Serialised here, because FastAPI would validate our own response again.
    return response.model_dump_json().encode()


def _response(body: bytes, pid: int = _PID) -> Response:
    # The process that predicted, so that a client can see when a swap has reached all workers.
    return Response(body, media_type="application/json", headers={"Evergreen-Worker": str(pid)})
