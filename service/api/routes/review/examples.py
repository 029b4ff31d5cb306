"""GET /v1/examples: what is labelled, to look through."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from core import audit
from core.class_names import MAX_LABEL_CHARACTERS
from core.review.listing import cursors
from core.review.listing.browse import ExampleFilter, Sort, list_examples
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.query_types import Flag, Time
from service.api.schemas.bodies import Limit
from service.api.schemas.review import AnalysisOf, ExampleItem, ExampleList

router = APIRouter(tags=["review"])

After = Annotated[
    str | None,
    Query(max_length=cursors.MAX_CHARACTERS, description="`next_after` of the page before."),
]
Since = Annotated[Time | None, Query(description="Added then or later, such as 2026-12-01T08:00Z.")]
Until = Annotated[Time | None, Query(description="Added then or earlier.")]


@router.get("/v1/examples", response_model=ExampleList)
def listing(
    serving: ServingDep,
    caller: CallerDep,
    name: Annotated[
        str | None,
        Query(
            alias="class",
            max_length=MAX_LABEL_CHARACTERS,
            description="Only of this class, in any spelling.",
        ),
    ] = None,
    held_out: Annotated[Flag | None, Query(description="Only held out, or only trained.")] = None,
    source: Annotated[
        Literal["feedback", "prediction", "import"] | None, Query(description="Only from there.")
    ] = None,
    since: Since = None,
    until: Until = None,
    labelled: Annotated[
        Flag, Query(description="False: only those whose labels were all retracted.")
    ] = True,
    agrees: Annotated[
        Flag | None, Query(description="Whether the label is what the analysis predicts.")
    ] = None,
    suspected: Annotated[
        Flag | None,
        Query(
            description="Whether the label is suspected: another class is more likely than it, and "
            "nobody gave the same label twice."
        ),
    ] = None,
    unfamiliar: Annotated[
        Flag | None, Query(description="Whether it is unlike everything else labelled.")
    ] = None,
    sort: Annotated[
        Sort,
        Query(
            description="`suspicion`: the least probable label first. `similarity`: the one least "
            "like the others first. Both leave out what the analysis does not know."
        ),
    ] = "newest",
    limit: Limit = 100,
    after: After = None,
) -> ExampleList:
    """List examples. `agrees`, `suspected`, `unfamiliar` and the last two sorts are by the newest
    analysis, which the trainer makes after a run: without one they list nothing."""
    wanted = ExampleFilter(
        class_name=name,
        held_out=held_out,
        source=source,
        since=None if since is None else since.timestamp(),
        until=None if until is None else until.timestamp(),
        labelled=labelled,
        agrees=agrees,
        suspected=suspected,
        unfamiliar=unfamiliar,
    )
    found = serving.analyses.get()
    with serving.store.db.read() as conn:
        page = list_examples(conn, wanted, found, sort=sort, limit=limit, after=after)
    audit.record_read(
        serving.store.db, caller.actor(), "examples.read", "examples", count=len(page.items)
    )
    excerpts = serving.excerpts.read([item.image for item in page.items])
    return ExampleList(
        examples=[ExampleItem.from_record(item, excerpts) for item in page.items],
        next_after=page.next_after,
        analysis=None if found is None else AnalysisOf.from_record(found[0]),
    )
