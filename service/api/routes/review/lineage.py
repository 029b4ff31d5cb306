"""Lineage: from a prediction to the labels behind it, and from an example to what saw it."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Query

from core import audit, runs
from core.errors import ArtifactError, UnknownRun, VersionRetired
from core.labelling import labels
from core.registry import versions
from core.review import images, items, lineage
from core.runs import Run
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.schemas.bodies import Limit, PlainNumber, WholeNumber
from service.api.schemas.lineage import (
    ExampleDetail,
    ExampleOfVersion,
    ExampleReview,
    ExamplesOfVersion,
    PredictionDetail,
)

router = APIRouter(tags=["lineage"])

_Limit = Annotated[Limit, Query(description="Most entries of the list.")]


@router.get("/v1/predictions/{prediction_id}", response_model=PredictionDetail)
def prediction(prediction_id: str, serving: ServingDep, caller: CallerDep) -> PredictionDetail:
    """Return a prediction, and where it comes from: its version, the run and the code that made
    that version, and the labels of its input. `/v1/versions/{n}/examples` has the labels that the
    version learned from."""
    with serving.store.db.read() as conn:
        origin = lineage.origin_of(conn, prediction_id)
        run: Run | None = None
        if origin.version.run_id is not None:
            try:
                run = runs.get(conn, origin.version.run_id)
            except UnknownRun:  # it was deleted since
                run = None
    manifest = None
    with contextlib.suppress(ArtifactError, VersionRetired):  # its files are lost, or deleted
        manifest = versions.read_manifest(origin.version, serving.store)
    subject = f"prediction {origin.prediction.id}"
    audit.record_read(serving.store.db, caller.actor(), "prediction.read", subject)
    excerpts = serving.excerpts.read([origin.prediction.image])
    return PredictionDetail.from_record(origin, manifest, run, excerpts)


@router.get("/v1/examples/{example_id}", response_model=ExampleDetail)
def example(
    example_id: WholeNumber,
    serving: ServingDep,
    caller: CallerDep,
    limit: _Limit = 100,
    before: Annotated[
        WholeNumber | None, Query(description="Only versions below this number.")
    ] = None,
) -> ExampleDetail:
    """Return an example: its label events, oldest first, and the versions that saw it,
    newest first. A version that saw it was trained on it, or judged on it if it is held out.

    `GET /v1/examples/{id}/image` returns the image itself, and `/text` the text.
    """
    found = serving.analyses.get()
    with serving.store.db.read() as conn:
        record = lineage.example(conn, example_id)
        events = lineage.events_of(conn, example_id)
        sights = lineage.sights_of(conn, example_id, limit=limit, before=before)
        newest = labels.newest_id(conn)
        (item,) = items.read_items(conn, [example_id], found)
        review = ExampleReview(
            item,
            found,
            images.problem_of(conn, record.image),
            serving.store.kind.preview_size(record.width, record.height),
        )
    audit.record_read(serving.store.db, caller.actor(), "example.read", f"example {record.id}")
    label, excerpts = lineage.label_at(events, newest), serving.excerpts.read([record.image])
    return ExampleDetail.from_record(record, events, label, sights, review, excerpts)


@router.get("/v1/versions/{number}/examples", response_model=ExamplesOfVersion)
def examples_of_version(
    number: WholeNumber,
    serving: ServingDep,
    caller: CallerDep,
    limit: _Limit = 100,
    after: Annotated[
        int, Query(ge=0, lt=2**63, description="Only examples above this id."), PlainNumber
    ] = 0,
) -> ExamplesOfVersion:
    """List the examples that a version was trained or judged on, with their labels of that moment,
    by id. A page may have fewer than `limit`; the last one has no `next_after`."""
    with serving.store.db.read() as conn:
        version = versions.get(conn, number)
        rows, next_after = labels.current_page(conn, version.snapshot, after=after, limit=limit)
    audit.record_read(
        serving.store.db,
        caller.actor(),
        "examples.read",
        f"version {number}",
        after=after,
        count=len(rows),
    )
    excerpts = serving.excerpts.read([row.image for row in rows])
    return ExamplesOfVersion(
        examples=[ExampleOfVersion.from_record(row, excerpts) for row in rows],
        next_after=next_after,
    )
