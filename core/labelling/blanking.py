"""Take an example out of learning, and blank what its rows say. The rows stay, for their ids."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, func, select, update

from core import erased
from core.labelling import labels
from core.labelling.labels import LabelEvent
from core.store import lost_blobs
from core.store.schema import embeddings, examples
from core.store.schema import labels as events

_retraction = events.alias("retraction")
_IS_RETRACTED = exists().where(_retraction.c.retracts == events.c.id)
# No band of a fingerprint is negative, so nothing is taken for a copy of it.
_NO_BAND = -1


@dataclass(frozen=True, slots=True)
class Blanked:
    """The digests of what was deleted, and what was blanked."""

    thumb: str
    embeddings: dict[str, str]
    # The ids of label events.
    labels: list[int]
    num_keys: int


def retract_all(conn: Connection, example_id: int, *, who: str, now: float) -> list[LabelEvent]:
    """Retract the labels of an example, newest first. Returns the retractions."""
    given = (
        select(events.c.id)
        .where(events.c.example_id == example_id, events.c.label.is_not(None), ~_IS_RETRACTED)
        .order_by(events.c.id.desc())
    )
    return [
        labels.append(conn, example_id=example_id, label=None, retracts=event_id, who=who, now=now)
        for event_id in conn.scalars(given).all()
    ]


def first_and_last_event(conn: Connection, example_id: int) -> tuple[int | None, int | None]:
    query = select(func.min(events.c.id), func.max(events.c.id))
    row = conn.execute(query.where(events.c.example_id == example_id)).one()
    return row[0], row[1]


def blank(conn: Connection, example_id: int) -> Blanked:
    """Blank an example whose labels are retracted, and its label events; delete its embeddings."""
    of_example = events.c.example_id == example_id
    row = conn.execute(select(examples).where(examples.c.id == example_id)).one()
    vectors = conn.execute(
        select(embeddings.c.backbone, embeddings.c.vector)
        .where(embeddings.c.example_id == example_id)
        .order_by(embeddings.c.backbone)
    ).all()
    given = list(conn.scalars(select(events.c.id).where(of_example, events.c.label.is_not(None))))
    has_key = of_example & events.c.idempotency_key.is_not(None)
    num_keys = conn.execute(select(func.count()).select_from(events).where(has_key)).scalar_one()
    conn.execute(
        update(events)
        .where(of_example, events.c.retracts.is_(None))
        .values(label=None, who="", prediction_id=None, idempotency_key=None)
    )
    conn.execute(delete(embeddings).where(embeddings.c.example_id == example_id))
    lost_blobs.clear(conn, [row.image])
    _rename_group(conn, example_id, row.image)
    name = erased.blank_image(example_id)
    nothing = {"num_bytes": 0, "width": 0, "height": 0, "source": "erased", "thumb": b""}
    bands = {f"band_{i}": _NO_BAND for i in range(4)}
    blank_row = {"image": name, "group_id": name, **nothing, **bands}
    conn.execute(update(examples).where(examples.c.id == example_id).values(blank_row))
    digests = {vector.backbone: _sha256(vector.vector) for vector in vectors}
    return Blanked(_sha256(row.thumb), digests, given, num_keys)


def _rename_group(conn: Connection, example_id: int, image: str) -> None:
    """Its near-duplicates stay, and stay a group: the oldest of them names it now."""
    others = (examples.c.group_id == image) & (examples.c.id != example_id)
    oldest = select(examples.c.image).where(others).order_by(examples.c.id).limit(1)
    name = conn.execute(oldest).scalar()
    if name is not None:
        conn.execute(update(examples).where(others).values(group_id=name))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
