"""Batches of label events: what was labelled or changed as one, and is undone as one."""

from __future__ import annotations

import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from core.access.roles import Role
from core.labelling import batches
from core.labelling.batches import Batch, Undone
from core.plain_text import MAX_WHO_CHARACTERS
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.schemas.bodies import Limit, WholeNumber, moment, moment_or_none

router = APIRouter(tags=["batches"])


class BatchResponse(BaseModel):
    id: int
    kind: str = Field(description="feedback, rename, merge, delete or import.")
    who: str
    created_at: datetime.datetime
    undone_at: datetime.datetime | None
    counts: dict[str, int] = Field(
        description="Such as `stored` labels, `changed` examples, and `retracted` once undone."
    )
    from_classes: list[str] = Field(description="The classes that a change of classes named.")
    to_class: str | None = Field(description="What they became, if anything.")

    @staticmethod
    def from_record(batch: Batch) -> BatchResponse:
        detail = batch.detail
        return BatchResponse(
            id=batch.id,
            kind=batch.kind,
            who=batch.who,
            created_at=moment(batch.created_at),
            undone_at=moment_or_none(batch.undone_at),
            counts={name: value for name, value in detail.items() if type(value) is int},
            from_classes=detail.get("from", []),
            to_class=detail.get("to"),
        )


class BatchList(BaseModel):
    batches: list[BatchResponse]
    next_before: int | None = Field(description="Send it as `before` for the next ones.")


class UndoneResponse(BaseModel):
    batch_id: int
    undone: bool = Field(description="Always true.")
    retracted: int = Field(description="Labels of the batch that were in force.")
    restored: int = Field(description="Examples that got back the label of a deleted class.")
    kept: int = Field(description="Examples that keep a label which was given since.")

    @staticmethod
    def from_record(undone: Undone) -> UndoneResponse:
        return UndoneResponse(
            batch_id=undone.batch_id,
            undone=True,
            retracted=undone.retracted,
            restored=undone.restored,
            kept=undone.kept,
        )


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
    who: Annotated[str | None, Query(json_schema_extra={"maxLength": MAX_WHO_CHARACTERS})] = None,
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
