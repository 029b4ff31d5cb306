"""The examples as a whole: where they lie, and whether more labels are worth it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from core import audit
from core.review import insights
from core.review.analysis import MAX_POINTS
from core.review.insights import ExampleMap
from service.api import etags
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.etags import IfNoneMatch
from service.api.schemas.bodies import PlainNumber
from service.api.schemas.insights import LearningCurveResponse, MapResponse

router = APIRouter(tags=["labels"])

# What is kept is asked for again with its tag.
_CACHED = {"Cache-Control": "private, no-cache"}
_NO_POINTS = ExampleMap([], [], [], [], [], (), [])


@router.get("/v1/map", response_model=MapResponse, responses=etags.NOT_MODIFIED)
def example_map(
    serving: ServingDep,
    caller: CallerDep,
    response: Response,
    limit: Annotated[
        int, Query(ge=1, le=MAX_POINTS, description="How many points."), PlainNumber
    ] = MAX_POINTS,
    if_none_match: IfNoneMatch = None,
) -> MapResponse | Response:
    """Return two dimensions of the embeddings of the labelled examples, as columns.

    They are of the newest analysis, which the trainer makes after a run. Before the first there are
    no points.
    """
    found = serving.analyses.get()
    tag = f'"{found[0].digest[:32] if found else "none"}-{limit}"'
    if etags.matches(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag, **_CACHED})
    response.headers.update({"ETag": tag, **_CACHED})
    version = found[0].version if found else None
    audit.record_read(serving.store.db, caller.actor(), "examples.read", "map", version=version)
    if found is None:
        return MapResponse.from_record(None, _NO_POINTS, 0)
    _, analysis = found
    return MapResponse.from_record(version, insights.example_map(analysis, limit), len(analysis))


@router.get(
    "/v1/learning-curve",
    response_model=LearningCurveResponse,
    responses=etags.NOT_MODIFIED,
)
def learning_curve(
    serving: ServingDep, response: Response, if_none_match: IfNoneMatch = None
) -> LearningCurveResponse | Response:
    """Return accuracy against the number of labels, measured and expected, and which class more
    labels help most.

    It is measured again when a tenth more labels are trained on.
    """
    with serving.store.db.read() as conn:
        curve = LearningCurveResponse.from_record(insights.learning_curve(conn))
    tag = etags.of_content(curve.model_dump_json())
    if etags.matches(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag, **_CACHED})
    response.headers.update({"ETag": tag, **_CACHED})
    return curve
