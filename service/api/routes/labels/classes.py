"""Classes: their examples and accuracy; rename, merge and delete them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from core.class_names import MAX_LABEL_CHARACTERS, NONE_OF_THESE
from core.labelling import class_changes
from core.labelling.class_changes import MAX_MERGED, ClassChange
from core.plain_text import MAX_WHO_CHARACTERS
from core.review.listing.class_list import ListedClass, read_class_list
from service.api import etags
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.etags import IfNoneMatch
from service.api.schemas.bodies import WHO, Limit, moment_or_none

router = APIRouter(tags=["classes"])

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
    none_of_these: NoneOfThese = Field(description="The label of images that are in no class.")
    can_learn: bool = Field(description="There are enough labels to train on.")


class _Who(BaseModel, extra="forbid"):
    who: str | None = Field(
        None, description=WHO, json_schema_extra={"maxLength": MAX_WHO_CHARACTERS}
    )


class RenameRequest(_Who):
    from_: _ClassName = Field(alias="from")
    to: _ClassName


class MergeRequest(_Who):
    from_: list[_ClassName] = Field(alias="from", min_length=1, max_length=MAX_MERGED)
    to: _ClassName = Field(description="One of them, a further class, or a new one.")


class DeleteRequest(_Who):
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


@router.get(
    "/v1/classes",
    response_model=ClassListResponse,
    responses=etags.NOT_MODIFIED,
)
def listing(
    serving: ServingDep,
    limit: Limit = 100,
    after: Annotated[
        str | None, Query(max_length=MAX_LABEL_CHARACTERS, description="Only names after this.")
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List the classes that examples have, by name."""
    with serving.store.db.read() as conn:
        found = read_class_list(conn, limit=limit, after=after)
    content = ClassListResponse(
        classes=[ClassResponse.from_record(each) for each in found.classes],
        next_after=found.next_after,
        none_of_these=NoneOfThese(name=NONE_OF_THESE, examples=found.num_none_of_these),
        can_learn=found.can_learn,
    ).model_dump_json()
    tag = etags.of_content(content)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if etags.matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


@router.post("/v1/classes/rename", response_model=ClassChangeResponse)
def rename(body: RenameRequest, serving: ServingDep, caller: CallerDep) -> ClassChangeResponse:
    """Give a class another name. Its examples get the label in one transaction, and the model
    learns of it in the next run."""
    who = caller.who(body.who)
    now, by = serving.store.db.clock(), caller.actor(who)
    change = class_changes.rename(serving.store, body.from_, body.to, who=who, now=now, by=by)
    return ClassChangeResponse.from_record(change)


@router.post("/v1/classes/merge", response_model=ClassChangeResponse)
def merge(body: MergeRequest, serving: ServingDep, caller: CallerDep) -> ClassChangeResponse:
    """Make several classes one. `none of these` may be what they become."""
    who = caller.who(body.who)
    now, by = serving.store.db.clock(), caller.actor(who)
    change = class_changes.merge(serving.store, body.from_, body.to, who=who, now=now, by=by)
    return ClassChangeResponse.from_record(change)


@router.post("/v1/classes/delete", response_model=ClassChangeResponse)
def delete(body: DeleteRequest, serving: ServingDep, caller: CallerDep) -> ClassChangeResponse:
    """Take the label of a class from all its examples. They stay, without a label."""
    who = caller.who(body.who)
    now, by = serving.store.db.clock(), caller.actor(who)
    change = class_changes.delete(serving.store, body.name, who=who, now=now, by=by)
    return ClassChangeResponse.from_record(change)
