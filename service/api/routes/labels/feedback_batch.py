"""POST /v1/feedback/batch: labels by the hundred, each with its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.concurrency import run_in_threadpool

from core.errors import EvergreenError, InputError, NotReady, Overloaded
from core.labelling import intake, predicted_image
from core.labelling.bulk.targets import BulkLabel, Target, find_targets
from core.labelling.bulk.write import store_labels
from core.labelling.examples import NewExample
from core.labelling.label_request import MAX_KEY_CHARACTERS, LabelRequest, check
from core.store.store import Store
from service.api.access.caller import CallerDep
from service.api.dependencies import DeadlineDep, ServingDep
from service.api.input_bodies import refuse_strings
from service.api.schemas.feedback_batch import (
    BulkLabelRequest,
    FeedbackBatchRequest,
    FeedbackBatchResponse,
)
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Deadline

router = APIRouter(tags=["feedback"])

# Less than the 60 seconds after which BentoML refuses a request.
_DEFAULT_TIMEOUT_MS = 40_000
_TRY_AGAIN_S = 0.05

Prepared = dict[str, NewExample | EvergreenError]


@router.post("/v1/feedback/batch", response_model=FeedbackBatchResponse)
async def give(
    body: FeedbackBatchRequest,
    serving: ServingDep,
    deadline: DeadlineDep,
    caller: CallerDep,
    idempotency_key: Annotated[
        str | None, Header(json_schema_extra={"minLength": 1, "maxLength": MAX_KEY_CHARACTERS})
    ] = None,
) -> FeedbackBatchResponse:
    """Label up to 500 images or texts at once. What can be stored is stored in one transaction, and
    is durable when the response arrives; each other label says what is wrong with it.

    With an Idempotency-Key, a repeated request stores nothing twice.
    """
    who = caller.who(body.who)
    request = check(
        LabelRequest(
            "any",
            who,
            idempotency_key,
            key_scope=caller.idempotency_scope,
            actor=caller.actor(who),
        )
    )
    if any(each.text is not None for each in body.labels):
        refuse_strings("text", serving.store.kind)
    wanted = await run_in_threadpool(_read_labels, serving.store, body.labels)
    readable = [each for each in wanted if isinstance(each, BulkLabel)]
    found = iter(await run_in_threadpool(find_targets, serving.store, readable))
    targets = [
        _if_it_waits(serving, each.prediction_id, next(found))
        if isinstance(each, BulkLabel)
        else each
        for each in wanted
    ]
    prepared = await _prepare(serving, targets, deadline or Deadline.after(_DEFAULT_TIMEOUT_MS))
    now = serving.store.db.clock()
    stored = await run_in_threadpool(store_labels, serving.store, targets, prepared, request, now)
    return FeedbackBatchResponse.from_record(stored)


def _read_labels(
    store: Store, labels: Sequence[BulkLabelRequest]
) -> list[BulkLabel | EvergreenError]:
    return [_read_label(store, each) for each in labels]


def _read_label(store: Store, each: BulkLabelRequest) -> BulkLabel | EvergreenError:
    try:
        content = None if each.text is None else intake.kept(store, store.kind.encode(each.text))
    except InputError as error:
        return error
    return BulkLabel(each.label, each.example_id, each.prediction_id, content)


def _if_it_waits(
    serving: ServingProcess, prediction_id: str | None, target: Target | EvergreenError
) -> Target | EvergreenError:
    if prediction_id is None or isinstance(target, Target):
        return target
    if not serving.spool.holds(prediction_id):
        return target
    return NotReady(
        f"prediction {prediction_id} waits on local disk for the store, which could not take it; "
        "try again later"
    )


async def _prepare(
    serving: ServingProcess, targets: Sequence[Target | EvergreenError], deadline: Deadline
) -> Prepared:
    """Decode and store the inputs that are no examples yet, by digest. A few at a time, so that
    predictions come in between."""
    waiting = {
        target.image: target
        for target in targets
        if isinstance(target, Target) and target.example_id is None
    }
    prepared: Prepared = {}

    async def work() -> None:
        while waiting:
            image, target = waiting.popitem()
            try:
                prepared[image] = await _prepare_one(serving, target, deadline)
            except EvergreenError as error:
                prepared[image] = error

    await asyncio.gather(*(work() for _ in range(max(1, serving.predictor.max_parallel // 2))))
    return prepared


async def _prepare_one(serving: ServingProcess, target: Target, deadline: Deadline) -> NewExample:
    """Raises ImageNotKept, InputError, Overloaded, DeadlineExceeded."""
    while True:
        deadline.check()
        try:
            ticket = serving.admission.reserve(deadline.remaining_s)
            break
        except Overloaded:
            if deadline.remaining_s < 2 * _TRY_AGAIN_S:
                raise
            await asyncio.sleep(_TRY_AGAIN_S)
    with ticket:
        content, prediction = target.content, target.prediction
        if prediction is not None:
            content = await run_in_threadpool(predicted_image.read_image, serving.store, prediction)
        assert content is not None
        new = await serving.predictor.compute(
            intake.prepare,
            content,
            serving.limits,
            "feedback" if prediction is None else "prediction",
            serving.store.kind,
            deadline=deadline,
        )
    # The prediction stored it without an fsync. A label needs it durable.
    await run_in_threadpool(serving.store.blobs.put, content)
    return new
