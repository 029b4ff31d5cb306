"""Classes: their examples and accuracy; rename, merge and delete them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from core.class_names import MAX_LABEL_CHARACTERS, NONE_OF_THESE
from core.labelling import class_changes
from core.review.listing.class_list import read_class_list
from service.api import etags
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.etags import IfNoneMatch
from service.api.schemas.bodies import Limit
from service.api.schemas.classes import (
    ClassChangeResponse,
    ClassListResponse,
    ClassResponse,
    DeleteRequest,
    MergeRequest,
    NoneOfThese,
    RenameRequest,
)

router = APIRouter(tags=["classes"])


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
