"""Classes: their examples and accuracy; rename, merge and delete them."""

from __future__ import annotations

import datetime
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from core.class_names import MAX_LABEL_CHARACTERS, NONE_OF_THESE, identity
from core.labelling import class_changes, classes
from core.labelling.census import read_census
from core.labelling.class_changes import MAX_MERGED, ClassChange
from core.labelling.classes import ClassRow
from core.plain_text import MAX_WHO_CHARACTERS
from core.registry import promotions, versions
from core.registry.versions import Version
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.schemas import WHO, Limit, moment_or_none

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
    def from_record(row: ClassRow, champion: _Champion) -> ClassResponse:
        judged, right = champion.counts.get(identity(row.name), (0, 0))
        return ClassResponse(
            name=row.name,
            examples=row.examples,
            held_out=row.held_out,
            accuracy=right / judged if judged else None,
            judged=judged,
            last_label_at=moment_or_none(row.last_label_at),
            in_champion=identity(row.name) in champion.classes,
        )


class NoneOfThese(BaseModel):
    name: str
    examples: int


class ClassList(BaseModel):
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


class _Champion:
    """What the champion knows, by the identity of a class."""

    def __init__(self, version: Version | None) -> None:
        known = () if version is None else version.classes
        metrics = {} if version is None else version.metrics.get("classes") or {}
        self.classes = frozenset(map(identity, known))
        # Judged, and right.
        self.counts = {
            identity(name): (int(each["judged"]), int(each["right"]))
            for name, each in metrics.items()
        }


@router.get(
    "/v1/classes",
    response_model=ClassList,
    responses={304: {"description": "Nothing has changed, as the client's `If-None-Match` says."}},
)
def listing(
    serving: ServingDep,
    limit: Limit = 100,
    after: Annotated[
        str | None, Query(max_length=MAX_LABEL_CHARACTERS, description="Only names after this.")
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="The `ETag` of the list that the client has.")
    ] = None,
) -> Response:
    """List the classes that examples have, by name."""
    with serving.store.db.read() as conn:
        rows = classes.listing(conn, limit=limit + 1, after=after)
        num_none = classes.num_examples(conn, NONE_OF_THESE)
        census = read_census(conn)
        live = promotions.newest_activation(conn)
        champion = _Champion(versions.get(conn, live.version) if live else None)
    more = len(rows) > limit
    content = ClassList(
        classes=[ClassResponse.from_record(row, champion) for row in rows[:limit]],
        next_after=rows[limit - 1].name if more else None,
        none_of_these=NoneOfThese(name=NONE_OF_THESE, examples=num_none),
        can_learn=census.is_enough,
    ).model_dump_json()
    tag = f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if if_none_match is not None and (tag in if_none_match or if_none_match.strip() == "*"):
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
