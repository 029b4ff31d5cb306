"""The inputs themselves, whole or as thumbnails: `/image` in a home of images, `/text` in one of
texts. An input under an id never changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from core import audit
from core.errors import InputError, NotReady, OtherKind
from core.inputs import kinds
from core.inputs.kind import InputKind
from core.inputs.pixels import thumbnail
from core.inputs.tokens import excerpt
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

_CHARACTERS: dict[str, Any] = {"type": "string"}
# Stored bytes come from strangers: a browser shows them as what they are, or not at all.
_HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_ENDINGS = {"application/octet-stream": "bin", "text/plain; charset=utf-8": "txt"}
Size = Annotated[
    Literal["thumbnail", "whole"],
    Query(
        description="`whole`: the stored bytes. `thumbnail`: of an image an upright JPEG of at "
        f"most {thumbnail.LONGEST_PX} pixels on its longer side, of a text at most its first "
        f"{excerpt.MAX_CHARACTERS} characters."
    ),
]


@dataclass(frozen=True, slots=True)
class _Source:
    # Such as `example 12`, for the audit.
    subject: str
    file_name: str
    find: Callable[[Connection], str]
    read: Callable[[str], bytes]


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
    kind = serving.store.kind
    action = f"{kind.wire.field}.read"
    await run_in_threadpool(record, serving.store.db, caller.actor(), action, source.subject)
    media_type = kind.media_type(content) if size == "whole" else kind.preview_type
    ending = _ENDINGS.get(media_type) or media_type.split("/")[1]
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
        raise serving.store.kind.undecodable(
            f"the {serving.store.kind.noun} of {source.subject} has no thumbnail ({error}); get it "
            "with size=whole"
        ) from error


class _Routes:
    """The two routes of one kind. In a home of another kind there is nothing at them."""

    def __init__(self, kind: InputKind) -> None:
        self._kind = kind

    async def of_example(
        self,
        example_id: WholeNumber,
        serving: ServingDep,
        caller: CallerDep,
        deadline: DeadlineDep,
        size: Size = "whole",
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        self._check_kind(serving, "examples", example_id)
        source = _Source(
            f"example {example_id}",
            f"example-{example_id}",
            lambda conn: image_of(conn, example_id),
            partial(images.read_of_example, serving.store, example_id),
        )
        return await _respond(serving, caller, source, size, deadline, if_none_match)

    async def of_prediction(
        self,
        prediction_id: Annotated[str, AnyUuid],
        serving: ServingDep,
        caller: CallerDep,
        deadline: DeadlineDep,
        size: Size = "whole",
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        self._check_kind(serving, "predictions", prediction_id)
        if serving.spool.holds(prediction_id):
            raise NotReady(
                f"prediction {prediction_id} waits on local disk for the store, which could not "
                "take it; try again later"
            )
        source = _Source(
            f"prediction {prediction_id}",
            f"prediction-{prediction_id}",
            lambda conn: images.of_prediction(conn, prediction_id),
            partial(images.read_of_prediction, serving.store, prediction_id),
        )
        return await _respond(serving, caller, source, size, deadline, if_none_match)

    def _check_kind(self, serving: ServingProcess, what: str, row_id: int | str) -> None:
        kind = serving.store.kind
        if self._kind is not kind:
            raise OtherKind(
                f"this home has {kind.plural}, and no {self._kind.plural}; GET "
                f"/v1/{what}/{row_id}/{kind.wire.field} returns the {kind.noun}"
            )


def _add_routes(kind: InputKind) -> None:
    routes, field, noun = _Routes(kind), kind.wire.field, kind.noun
    schema = {"type": "string", "format": "binary"} if kind.wire.json_field is None else _CHARACTERS
    content = {kind.stored_types: {"schema": schema}}
    router.get(
        f"/v1/examples/{{example_id}}/{field}",
        response_class=Response,
        responses={200: {"content": content}, **etags.NOT_MODIFIED},
        description=f"Return the {noun} of an example. Browsers may keep it for a year.",
    )(routes.of_example)
    router.get(
        f"/v1/predictions/{{prediction_id}}/{field}",
        response_class=Response,
        responses={200: {"content": content}, **etags.NOT_MODIFIED},
        description=f"Return the {noun} of a prediction, while it is kept. Browsers may keep it "
        "for a year.",
    )(routes.of_prediction)


for each in kinds.ALL:
    _add_routes(each)
