"""The bodies of requests and responses about classes; OpenAPI is made from them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from core.class_names import MAX_LABEL_CHARACTERS
from core.labelling.class_changes import MAX_MERGED, ClassChange
from core.review.listing.class_list import ListedClass
from service.api.schemas.bodies import Authored, moment_or_none

_NAME: dict[str, Any] = {"minLength": 1, "maxLength": MAX_LABEL_CHARACTERS}
_ClassName = Annotated[str, Field(json_schema_extra=_NAME)]


class ClassResponse(BaseModel):
    name: str
    examples: int = Field(description="With this label now.")
    held_out: int = Field(description="Those of them that judge versions and train none.")
    accuracy: float | None = Field(description="Of the champion, 0 to 1. Null: not judged.")
    judged: int = Field(description="Examples that the accuracy is of, when it was trained.")
    last_label_at: datetime.datetime | None = Field(
        description="When the newest label of this name was given."
    )
    in_champion: bool = Field(description="The champion can predict it.")

    @staticmethod
    def from_record(listed: ListedClass) -> ClassResponse:
        return ClassResponse(
            name=listed.name,
            examples=listed.examples,
            held_out=listed.held_out,
            accuracy=listed.accuracy,
            judged=listed.judged,
            last_label_at=moment_or_none(listed.last_label_at),
            in_champion=listed.in_champion,
        )


class NoneOfThese(BaseModel):
    name: str
    examples: int


class ClassListResponse(BaseModel):
    classes: list[ClassResponse] = Field(description="By name.")
    next_after: str | None = Field(description="Send it as `after` for the next ones; null: none.")
    none_of_these: NoneOfThese = Field(description="The label of inputs that are in no class.")
    can_learn: bool = Field(description="There are enough labels to train on.")


class RenameRequest(Authored):
    from_: _ClassName = Field(alias="from")
    to: _ClassName


class MergeRequest(Authored):
    from_: list[_ClassName] = Field(alias="from", min_length=1, max_length=MAX_MERGED)
    to: _ClassName = Field(description="One of them, a further class, or a new one.")


class DeleteRequest(Authored):
    name: _ClassName


class ClassChangeResponse(BaseModel):
    batch_id: int = Field(description="DELETE /v1/batches/{id} undoes the change.")
    changed: int = Field(description="Examples that have another label now, or none.")
    name: str | None = Field(description="Of the class now; null: it was deleted.")

    @staticmethod
    def from_record(change: ClassChange) -> ClassChangeResponse:
        return ClassChangeResponse(
            batch_id=change.batch_id, changed=change.changed, name=change.name
        )
