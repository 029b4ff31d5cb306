"""Batches of label events: what was labelled or changed as one, and is undone as one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from core.access.roles import Role
from core.labelling import batches
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.query_types import Who
from service.api.schemas.batches import BatchList, BatchResponse, UndoneResponse
from service.api.schemas.bodies import Limit, WholeNumber

router = APIRouter(tags=["batches"])


@router.get("/v1/batches", response_model=BatchList)
def listing(
    serving: ServingDep,
    limit: Limit = 100,
    before: Annotated[WholeNumber | None, Query(description="Only batches below this id.")] = None,
) -> BatchList:
    """List the batches of labels and the changes of classes, newest first."""
    with serving.store.db.read() as conn:
        found = batches.listing(conn, limit=limit + 1, before=before)
    more = len(found) > limit
    return BatchList(
        batches=[BatchResponse.from_record(batch) for batch in found[:limit]],
        next_before=found[limit - 1].id if more else None,
    )


@router.delete("/v1/batches/{batch_id}", response_model=UndoneResponse)
def undo(
    batch_id: WholeNumber,
    serving: ServingDep,
    caller: CallerDep,
    who: Who = None,
) -> UndoneResponse:
    """Undo a batch as one. Labels that were given since stay. Repeated, it answers the same.

    A key with the role `label` undoes its own batches only.
    """
    who = caller.who(who)
    undone = batches.undo(
        serving.store,
        batch_id,
        who=who,
        now=serving.store.db.clock(),
        only_own=caller.role < Role.TRAIN,
        by=caller.actor(who),
    )
    return UndoneResponse.from_record(undone)
