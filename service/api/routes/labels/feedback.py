"""POST /v1/feedback: labels, for a prediction, an example or an input. DELETE retracts one."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from core.access.roles import Role
from core.errors import InvalidRequest, NotReady, UnsupportedMediaType
from core.inputs import kinds
from core.labelling import intake, predicted_image, retractions
from core.labelling.intake import IntakeResult, PreparedImage
from core.labelling.label_request import MAX_KEY_CHARACTERS, LabelRequest, check
from service.api import input_contract
from service.api.access.caller import Caller, CallerDep
from service.api.dependencies import DeadlineDep, ServingDep
from service.api.input_bodies import read_form, refuse_strings
from service.api.query_types import Who
from service.api.request_bodies import FORM, JSON, media_type
from service.api.schemas.bodies import FeedbackRequest, FeedbackResponse, WholeNumber
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Deadline

router = APIRouter(tags=["feedback"])


@router.post(
    "/v1/feedback",
    status_code=201,
    response_model=FeedbackResponse,
    responses={
        200: {"model": FeedbackResponse, "description": "Stored before; the same response."}
    },
    openapi_extra=input_contract.of_feedback(kinds.ALL),
)
async def give(
    request: Request,
    response: Response,
    serving: ServingDep,
    deadline: DeadlineDep,
    caller: CallerDep,
    idempotency_key: Annotated[
        str | None, Header(json_schema_extra={"minLength": 1, "maxLength": MAX_KEY_CHARACTERS})
    ] = None,
) -> FeedbackResponse:
    """Label an image or a text. The label is durable when the response arrives."""
    content_type = media_type(request)
    if content_type == JSON:
        result = await _label_by_json(request, serving, caller, idempotency_key, deadline)
    elif content_type == FORM:
        result = await _label_by_form(request, serving, caller, idempotency_key, deadline)
    else:
        field = serving.store.kind.wire.field
        raise UnsupportedMediaType(
            f"the Content-Type is {content_type[:100]!r}; send {JSON} with `label` and "
            f"`prediction_id` or `example_id`, or {FORM} with `{field}` and `label`"
        )
    response.status_code = 201 if result.is_new else 200
    return FeedbackResponse.from_record(result)


@router.delete("/v1/feedback/{feedback_id}", response_model=FeedbackResponse)
def take_back(
    feedback_id: WholeNumber,
    serving: ServingDep,
    caller: CallerDep,
    who: Who = None,
) -> FeedbackResponse:
    """Retract a label. The example gets back the label that it had before, if any.

    A key with the role `label` retracts its own labels only.
    """
    who = caller.who(who)
    retraction = retractions.retract(
        serving.store,
        feedback_id,
        who=who,
        now=serving.store.db.clock(),
        only_own=caller.role < Role.TRAIN,
        by=caller.actor(who),
    )
    return FeedbackResponse.from_record(retraction)


async def _label_by_json(
    request: Request,
    serving: ServingProcess,
    caller: Caller,
    key: str | None,
    deadline: Deadline | None,
) -> IntakeResult:
    try:
        # pydantic's own parser says of half a character only that an escape is incomplete.
        body = FeedbackRequest.model_validate(json.loads(await request.body() or b"null"))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, p['loc'])) or 'the body'}: {p['msg'].lower()}"
            for p in error.errors(include_url=False, include_input=False)
        )
        raise InvalidRequest(
            f'{problems}; send {{"prediction_id": "...", "label": "cat"}}'
        ) from error
    label = _checked(caller, body.label, body.who, key)
    if body.text is not None:
        refuse_strings("text", serving.store.kind)
        content = serving.store.kind.encode(body.text)
        # As one that comes in a form, which is admitted before its route is called.
        with serving.admission.reserve(deadline.remaining_s if deadline else None):
            return await _label_input(serving, content, label, deadline)
    if body.prediction_id is None:
        now, example_id = serving.store.db.clock(), body.example_id or 0
        return await run_in_threadpool(intake.label_example, serving.store, example_id, label, now)
    if serving.spool.holds(body.prediction_id):
        raise NotReady(
            f"prediction {body.prediction_id} waits on local disk for the store, which could not "
            f"take it; try again later, or send the {serving.store.kind.noun} itself"
        )
    prediction = await run_in_threadpool(
        predicted_image.prediction_of, serving.store, body.prediction_id
    )
    if await run_in_threadpool(intake.has_example, serving.store, prediction.image):
        return await _store_label(serving, body.prediction_id, label, None)
    # The input is decoded, so it is admitted as one that comes with its label.
    with serving.admission.reserve(deadline.remaining_s if deadline else None):
        content = await run_in_threadpool(predicted_image.read_image, serving.store, prediction)
        new = await serving.predictor.compute(
            intake.prepare,
            content,
            serving.limits,
            "prediction",
            serving.store.kind,
            deadline=deadline,
        )
        return await _store_label(serving, body.prediction_id, label, PreparedImage(content, new))


def _checked(caller: Caller, label: str, who: str | None, key: str | None) -> LabelRequest:
    who = caller.who(who)
    scope = caller.idempotency_scope
    return check(LabelRequest(label, who, key, key_scope=scope, actor=caller.actor(who)))


async def _store_label(
    serving: ServingProcess, prediction_id: str, label: LabelRequest, prepared: PreparedImage | None
) -> IntakeResult:
    return await run_in_threadpool(
        intake.label_prediction,
        serving.store,
        prediction_id,
        label,
        serving.limits,
        serving.store.db.clock(),
        prepared,
    )


async def _label_by_form(
    request: Request,
    serving: ServingProcess,
    caller: Caller,
    key: str | None,
    deadline: Deadline | None,
) -> IntakeResult:
    (content,), fields = await read_form(request, serving.store.kind)
    unknown = fields.keys() - {"label", "who"}
    if unknown:
        raise InvalidRequest(f"the form has unknown fields {sorted(unknown)}; it takes label, who")
    if "label" not in fields:
        raise InvalidRequest("the form has no field `label`; with curl: -F label=cat")
    label = _checked(caller, fields["label"], fields.get("who"), key)
    return await _label_input(serving, content, label, deadline)


async def _label_input(
    serving: ServingProcess, content: bytes, label: LabelRequest, deadline: Deadline | None
) -> IntakeResult:
    kept = await run_in_threadpool(intake.kept, serving.store, content)
    # Decoded in a compute thread, as predictions are: a large image takes much memory.
    new = await serving.predictor.compute(
        intake.prepare, kept, serving.limits, label.source, serving.store.kind, deadline=deadline
    )
    return await run_in_threadpool(
        intake.store_label, serving.store, kept, new, label, serving.store.db.clock()
    )
