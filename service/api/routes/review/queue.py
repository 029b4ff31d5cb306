"""What to label next, and the labelled inputs that an input is like."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query

from core import audit
from core.errors import InvalidRequest
from core.inputs.kind import Array
from core.models.servable import Servable
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.review import neighbours
from core.review.directions import unit
from core.review.queue import show as queue
from service.api.access.caller import Caller, CallerDep
from service.api.dependencies import ServingDep
from service.api.schemas.bodies import AnyUuid, PlainNumber, WholeNumber
from service.api.schemas.queue import NeighbourItem, NeighbourList, QueueResponse
from service.inference.serving_process import ServingProcess

router = APIRouter(tags=["review"])

_Shown = Annotated[
    int,
    Query(ge=1, le=queue.MAX_SHOWN, description="Most items of the answer."),
    PlainNumber,
]


@router.get("/v1/queue", response_model=QueueResponse)
async def listing(
    serving: ServingDep,
    caller: CallerDep,
    by: Annotated[
        queue.By,
        Query(
            description="doubt: kept predictions that teach most. unfamiliar: those unlike "
            "everything labelled. suspect: labels that are probably wrong."
        ),
    ] = "doubt",
    limit: _Shown = 20,
    reviewer: Annotated[
        str | None,
        Query(
            max_length=MAX_WHO_CHARACTERS,
            description="Who labels them: two people are never shown one item within two "
            "minutes. By default the name of the key.",
        ),
    ] = None,
) -> QueueResponse:
    """List what is most worth a person's time to label, and reserve it for the reviewer. No two
    items are near-duplicates. What is labelled is not listed again."""
    name = _name_of(caller, reviewer)
    champion = await serving.predictor.servable()

    def show() -> QueueResponse:
        found = serving.analyses.get()
        shown = queue.show(
            serving.store,
            champion,
            found,
            by=by,
            limit=limit,
            reviewer=name,
            actor=caller.actor(name),
        )
        both = [each for item in shown.items for each in (item.prediction, item.example)]
        excerpts = serving.excerpts.read(each.image for each in both if each is not None)
        return QueueResponse.from_record(shown, None if found is None else found[0], excerpts)

    return await serving.review_thread.run(show)


@router.get("/v1/neighbours", response_model=NeighbourList)
async def nearest(
    serving: ServingDep,
    caller: CallerDep,
    example: Annotated[WholeNumber | None, Query(description="The id of an example.")] = None,
    prediction: Annotated[str | None, Query(description="The id of a prediction."), AnyUuid] = None,
    limit: _Shown = 3,
) -> NeighbourList:
    """List the labelled images or texts that are most like one, by the champion's backbone. Name
    one example or one prediction. It is not among them itself, its near-duplicates may be."""
    champion = await serving.predictor.servable()
    backbone = champion.manifest.backbone

    def read() -> neighbours.Query:
        with serving.store.db.read() as conn:
            if example is not None and prediction is None:
                return neighbours.of_example(conn, example, backbone)
            if prediction is not None and example is None:
                return neighbours.of_prediction(conn, prediction, backbone)
        raise InvalidRequest("send either `example` or `prediction`, the id of one")

    query = await serving.review_thread.run(read)
    x_D = query.x_D
    if x_D is None:
        x_D = await _embed(serving, champion, query)

    def compare() -> list[NeighbourItem]:
        found = serving.analyses.get()
        subject = f"example {example}" if prediction is None else f"prediction {prediction}"
        near = serving.neighbours.nearest(query, x_D, backbone, limit, found)
        by, db = caller.actor(), serving.store.db
        audit.record_read(db, by, "neighbours.read", subject, count=len(near))
        excerpts = serving.excerpts.read([each.example.image for each in near])
        return [NeighbourItem.from_record(each, excerpts) for each in near]

    near = await serving.review_thread.run(compare)
    return NeighbourList(version=champion.version, neighbours=near)


async def _embed(
    serving: ServingProcess, champion: Servable, query: neighbours.Query
) -> neighbours.Floats:
    """In turn with predictions. A version without classes embeds too. Raises ImageNotKept,
    ImageLost."""

    def decode() -> Array:
        content = neighbours.read_image_of(serving.store, query)
        return champion.reader.decode(content, serving.limits).array

    array = await serving.review_thread.run(decode)
    embed = champion.backbone.embed
    embedding_BD = await serving.predictor.compute(embed, array[np.newaxis])
    x_D: neighbours.Floats = unit(embedding_BD.astype(np.float32))[0]
    return x_D


def _name_of(caller: Caller, reviewer: str | None) -> str:
    """Raises InvalidRequest."""
    name = reviewer or caller.name or "anonymous"
    check_plain("reviewer", name, MAX_WHO_CHARACTERS)
    return name
