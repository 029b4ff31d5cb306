"""Versions on the held-out examples: two compared, or what one takes for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from core import audit
from core.labelling import labels
from core.registry import versions
from core.review.comparing import comparison
from core.review.comparing.comparison import describe_coverage
from core.review.comparing.confusion import confusion
from core.review.comparing.version_scores import HeldOut, VersionScores
from service.api import etags
from service.api.access.caller import CallerDep
from service.api.dependencies import ServingDep
from service.api.etags import IfNoneMatch
from service.api.schemas.bodies import Limit, WholeNumber
from service.api.schemas.comparison import ConfusionResponse, DifferenceResponse
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["versions"])

_Number = Annotated[WholeNumber, Path(description="The number of a version.")]


@router.get(
    "/v1/versions/{a}/diff/{b}", response_model=DifferenceResponse, responses=etags.NOT_MODIFIED
)
async def diff(
    a: _Number,
    b: _Number,
    serving: ServingDep,
    caller: CallerDep,
    limit: Annotated[Limit, Query(description="Most flips to list.")] = 100,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Compare two versions on the held-out examples, none of which trained them.

    Their predictions come from stored embeddings. `limit` is that of `flips`. One comparison runs
    at a time, and the answer is 503 if that takes too long: try again then.
    """
    what = f"{a}-{b}-{limit}"
    tag = await run_in_threadpool(_newest_tag, serving, (a, b), what)
    if etags.matches(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    held_out, scores = await serving.version_scorer.scores((a, b))

    def respond() -> Response:
        found = comparison.difference(held_out, *scores)
        left_out = found.num_not_embedded
        why = f"their embeddings are not stored: `evergreen versions diff {a} {b}` computes them"
        note = describe_coverage(held_out, found.overall.n, left_out, scores, why)
        with serving.store.db.read() as conn:
            images = comparison.images_of(conn, [flip.example_id for flip in found.flips[:limit]])
        excerpts = serving.excerpts.read(list(images.values()))
        body = DifferenceResponse.from_record(found, note, images, excerpts, limit)
        subject, count = f"versions {a} and {b}", len(body.flips)
        audit.record_read(
            serving.store.db, caller.actor(), "versions.compared", subject, count=count
        )
        return _json(body, held_out, scores, what)

    return await run_in_threadpool(respond)


@router.get(
    "/v1/versions/{number}/confusion",
    response_model=ConfusionResponse,
    responses=etags.NOT_MODIFIED,
)
async def confusion_of(
    number: _Number, serving: ServingDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Count what a version takes for what, on the held-out examples of classes that it knows.

    It takes as long as a comparison does.
    """
    what = str(number)
    tag = await run_in_threadpool(_newest_tag, serving, (number,), what)
    if etags.matches(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    held_out, scores = await serving.version_scorer.scores((number,))

    def respond() -> Response:
        found = confusion(held_out, scores[0])
        left_out = found.num_not_embedded
        why = f"their embeddings are not stored: `evergreen versions confusion {number}` does so"
        note = describe_coverage(held_out, found.num_judged, left_out, scores, why)
        return _json(ConfusionResponse.from_record(found, note), held_out, scores, what)

    return await run_in_threadpool(respond)


def _newest_tag(serving: ServingProcess, numbers: Sequence[int], what: str) -> str:
    """Raises UnknownVersion."""
    with serving.store.db.read() as conn:
        for number in numbers:
            versions.get(conn, number)
        return _tag(labels.newest_id(conn), what)


def _tag(newest_label: int, what: str) -> str:
    return f'"{newest_label}-{what}"'


def _json(
    body: BaseModel, held_out: HeldOut, scores: Sequence[VersionScores], what: str
) -> Response:
    # It may be large, and is made in a thread.
    response = Response(body.model_dump_json(), media_type="application/json")
    if all(each.is_complete for each in scores):  # embeddings may come without a label
        response.headers["ETag"] = _tag(held_out.newest_label, what)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
