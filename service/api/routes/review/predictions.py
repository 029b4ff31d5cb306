"""GET /v1/predictions: what was predicted and has no label yet, to look through."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from core import audit
from core.class_names import MAX_LABEL_CHARACTERS
from core.review.listing.kept_predictions import PredictionFilter, list_predictions
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.query_types import Flag, Time
from service.api.routes.review.examples import After
from service.api.schemas.bodies import Limit, PlainNumber
from service.api.schemas.review import PredictionItem, PredictionItems

router = APIRouter(tags=["review"])

# Its bounds come first, or the contract would lack them.
_Version = Annotated[int, Field(ge=1, lt=2**31), PlainNumber]


@router.get("/v1/predictions", response_model=PredictionItems)
def listing(
    serving: ServingDep,
    caller: CallerDep,
    label: Annotated[
        str | None,
        Query(max_length=MAX_LABEL_CHARACTERS, description="Only this answer, in any spelling."),
    ] = None,
    version: Annotated[_Version | None, Query(description="Only by this version.")] = None,
    unfamiliar: Annotated[
        Flag | None, Query(description="Whether it is unlike everything labelled.")
    ] = None,
    since: Annotated[Time | None, Query(description="Made then or later.")] = None,
    until: Annotated[Time | None, Query(description="Made then or earlier.")] = None,
    limit: Limit = 100,
    after: After = None,
) -> PredictionItems:
    """List the predictions whose images or texts are kept and have no label, newest first."""
    wanted = PredictionFilter(
        label=label,
        version=version,
        unfamiliar=unfamiliar,
        since=None if since is None else since.timestamp(),
        until=None if until is None else until.timestamp(),
    )
    with serving.store.db.read() as conn:
        page = list_predictions(conn, wanted, limit=limit, after=after)
    audit.record_read(
        serving.store.db,
        caller.actor(),
        "predictions.read",
        "predictions",
        count=len(page.predictions),
    )
    excerpts = serving.excerpts.read([each.image for each in page.predictions])
    return PredictionItems(
        predictions=[PredictionItem.from_record(each, excerpts) for each in page.predictions],
        next_after=page.next_after,
    )
