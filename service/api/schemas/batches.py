"""The bodies of responses about batches of label events; OpenAPI is made from them."""

from __future__ import annotations

import datetime

from pydantic import BaseModel, Field

from core.labelling.batches import Batch, Undone
from service.api.schemas.bodies import moment, moment_or_none


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
