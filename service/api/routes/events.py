"""GET /v1/events: the audit."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from core import audit
from core.audit import AuditEvent
from service.api.dependencies import ServingDep
from service.api.schemas.bodies import Limit, PlainNumber, moment

router = APIRouter(tags=["events"])

# Its bound comes first, or the contract would lack it.
_Id = Annotated[int, Field(ge=0), PlainNumber]


class EventResponse(BaseModel):
    id: int
    at: datetime.datetime
    who: str = Field(description="The name of the key, a user, a command line, or the service.")
    key_id: str | None = Field(description="Null: done without a key.")
    request_id: str | None = Field(description="`X-Request-Id`; null: no request did it.")
    action: str = Field(examples=["label.given"])
    subject: str = Field(examples=["label 12"])
    detail: dict[str, Any]

    @staticmethod
    def from_record(event: AuditEvent) -> EventResponse:
        return EventResponse(
            id=event.id,
            at=moment(event.at),
            who=event.who,
            key_id=event.key_id,
            request_id=event.request_id,
            action=event.action,
            subject=event.subject,
            detail=dict(event.detail),
        )


class EventList(BaseModel):
    events: list[EventResponse]
    next_before: int | None = Field(
        description="Send it as `before` for the next ones, with the other parameters as they are; "
        "null: there are none."
    )


@router.get("/v1/events", response_model=EventList)
def listing(
    serving: ServingDep,
    limit: Limit = 100,
    after: Annotated[_Id, Query(description="Only events above this id: new ones.")] = 0,
    before: Annotated[_Id | None, Query(description="Only events below this id.")] = None,
    action: Annotated[
        str | None, Query(max_length=40, description="Only this one, such as `label.given`.")
    ] = None,
    who: Annotated[
        str | None, Query(max_length=100, description="Only what this key, user or service did.")
    ] = None,
) -> EventList:
    """List what was done by whom, newest first: each change, and each read of examples and models.

    Predictions are no events. No event appears later below an id that was listed.
    """
    with serving.store.db.read() as conn:
        found = audit.listing(
            conn, limit=limit + 1, after=after, before=before, action=action, who=who
        )
    more = len(found) > limit
    return EventList(
        events=[EventResponse.from_record(event) for event in found[:limit]],
        next_before=found[limit - 1].id if more else None,
    )
