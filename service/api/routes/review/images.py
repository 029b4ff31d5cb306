"""The images themselves, whole or as thumbnails. An image under an id never changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from core import audit
from core.errors import InputError, NotReady, UndecodableImage
from core.inputs.pixels import thumbnail
from core.labelling.examples import image_of
from core.review import images
from service.api import etags
from service.api.access.caller import Caller, CallerDep
from service.api.dependencies import DeadlineDep, ServingDep
from service.api.etags import IfNoneMatch
from service.api.schemas.bodies import AnyUuid, WholeNumber
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Deadline

router = APIRouter(tags=["review"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
    **etags.NOT_MODIFIED,
}
# Stored bytes come from strangers: a browser shows them as an image, or not at all.
_HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
Size = Annotated[
    Literal["thumbnail", "whole"],
    Query(
        description="`whole`: the stored bytes. `thumbnail`: an upright JPEG of at most "
        f"{thumbnail.LONGEST_PX} pixels on its longer side, of any format."
    ),
]


@dataclass(frozen=True, slots=True)
class _Source:
    # Such as `example 12`, for the audit.
    subject: str
    file_name: str
    find: Callable[[Connection], str]
    read: Callable[[str], bytes]


@router.get("/v1/examples/{example_id}/image", response_class=Response, responses=_RESPONSES)
async def of_example(
    example_id: WholeNumber,
    serving: ServingDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    size: Size = "whole",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the image of an example. Browsers may keep it for a year."""
    source = _Source(
        f"example {example_id}",
        f"example-{example_id}",
        lambda conn: image_of(conn, example_id),
        partial(images.read_of_example, serving.store, example_id),
    )
    return await _respond(serving, caller, source, size, deadline, if_none_match)


@router.get("/v1/predictions/{prediction_id}/image", response_class=Response, responses=_RESPONSES)
async def of_prediction(
    prediction_id: Annotated[str, AnyUuid],
    serving: ServingDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    size: Size = "whole",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the image of a prediction, while it is kept. Browsers may keep it for a year."""
    if serving.spool.holds(prediction_id):
        raise NotReady(
            f"prediction {prediction_id} waits on local disk for the store, which could not take "
            "it; try again later"
        )
    source = _Source(
        f"prediction {prediction_id}",
        f"prediction-{prediction_id}",
        lambda conn: images.of_prediction(conn, prediction_id),
        partial(images.read_of_prediction, serving.store, prediction_id),
    )
    return await _respond(serving, caller, source, size, deadline, if_none_match)


async def _respond(
    serving: ServingProcess,
    caller: Caller,
    source: _Source,
    size: str,
    deadline: Deadline | None,
    if_none_match: str | None,
) -> Response:
    # The row comes first: what was erased is shown from no cache.
    image, content = await run_in_threadpool(_look_up, serving, source, size)
    headers = {"ETag": f'"{image}-{size}"', **_HEADERS}
    if etags.matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if content is None and size == "whole":
        content = await run_in_threadpool(source.read, image)
    elif content is None:
        content = await _make(serving, source, image, deadline)
    record = partial(audit.record_read, size=size)
    await run_in_threadpool(record, serving.store.db, caller.actor(), "image.read", source.subject)
    kind = serving.store.kind
    media_type = kind.media_type(content) if size == "whole" else kind.preview_type
    ending = media_type.split("/")[1].replace("octet-stream", "bin")
    headers["Content-Disposition"] = f'inline; filename="{source.file_name}.{ending}"'
    return Response(content, media_type=media_type, headers=headers)


def _look_up(serving: ServingProcess, source: _Source, size: str) -> tuple[str, bytes | None]:
    """The digest of the image, and its thumbnail if that is wanted and known."""
    with serving.store.db.read() as conn:
        image = source.find(conn)
    return image, serving.thumbnails.cache.get(image) if size == "thumbnail" else None


async def _make(
    serving: ServingProcess, source: _Source, image: str, deadline: Deadline | None
) -> bytes:
    try:
        return await serving.thumbnails.make(image, partial(source.read, image), deadline)
    except InputError as error:
        raise UndecodableImage(
            f"the image of {source.subject} has no thumbnail ({error}); get it with size=whole"
        ) from error
