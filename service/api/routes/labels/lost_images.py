"""Lost images: labelled examples whose inputs are missing or damaged. DELETE erases one."""

from __future__ import annotations

import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from core.labelling import lost_images
from core.labelling.lost_images import LostImage
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.query_types import Who
from service.api.schemas.bodies import Limit, PlainNumber, WholeNumber, moment

router = APIRouter(tags=["lost images"])


class LostImageResponse(BaseModel):
    example_id: int
    image: str = Field(description="The SHA-256 of its bytes.")
    label: str = Field(description="The current label of the example.")
    problem: str = Field(description="missing or damaged.")
    found_at: datetime.datetime = Field(description="When it was found so.")

    @staticmethod
    def from_record(lost: LostImage) -> LostImageResponse:
        return LostImageResponse(
            example_id=lost.example_id,
            image=lost.image,
            label=lost.label,
            problem=lost.problem,
            found_at=moment(lost.found_at),
        )


class LostImageList(BaseModel):
    lost_images: list[LostImageResponse]
    next_after: int | None = Field(description="Send it as `after` for the next ones; null: none.")


class Erased(BaseModel):
    example_id: int
    retracted: list[int] = Field(description="Ids of the labels that were retracted.")


@router.get("/v1/lost-images", response_model=LostImageList)
def listing(
    serving: ServingDep,
    limit: Limit = 50,
    after: Annotated[int, Query(ge=0, description="Only examples above this id."), PlainNumber] = 0,
) -> LostImageList:
    """List the labelled examples whose images or texts are missing or damaged, by the example's id.

    To get one back, restore its blob from a backup, or label the same input again.
    """
    with serving.store.db.read() as conn:
        found = lost_images.listing(conn, limit=limit + 1, after=after)
    more = len(found) > limit
    return LostImageList(
        lost_images=[LostImageResponse.from_record(lost) for lost in found[:limit]],
        next_after=found[limit - 1].example_id if more else None,
    )


@router.delete("/v1/lost-images/{example_id}", response_model=Erased)
def erase(
    example_id: WholeNumber, serving: ServingDep, caller: CallerDep, who: Who = None
) -> Erased:
    """Take an example whose image or text is lost out of learning: its labels are retracted. DELETE
    /v1/examples/{example_id} blanks them too, and erases what else there is of it."""
    who = caller.who(who)
    now = serving.store.db.clock()
    retractions = lost_images.erase(
        serving.store, example_id, who=who, now=now, by=caller.actor(who)
    )
    return Erased(
        example_id=example_id,
        retracted=[event.retracts for event in retractions if event.retracts is not None],
    )
