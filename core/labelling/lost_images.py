"""Lost images: those of labelled examples that are missing or damaged in the blob store.

Such an example is named in runs, and trained on only as long as its embedding is stored. Restoring
the image, or sending it again, ends that. Erasing takes its labels out of learning, and
`core/erasure/` blanks them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Join, delete, exists, func, select

from core import audit
from core.audit import Actor
from core.errors import BlobMissing, StoreError, UnknownExample
from core.labelling import blanking, labels
from core.labelling.labels import LabelEvent
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.store import lost_blobs
from core.store.schema import embeddings, examples
from core.store.schema import labels as events
from core.store.schema import lost_blobs as lost
from core.store.store import Store

_retraction = events.alias("retraction")
_IS_RETRACTED = exists().where(_retraction.c.retracts == events.c.id)
# Reading an image takes a millisecond, or more from a remote store.
_MOST_RECHECKED = 200


@dataclass(frozen=True, slots=True)
class LostImage:
    example_id: int
    # The SHA-256 of its bytes.
    image: str
    label: str
    # missing or damaged.
    problem: str
    found_at: float


def listing(conn: Connection, *, limit: int, after: int = 0) -> list[LostImage]:
    """Ordered by the example's id, from the first above `after` on."""
    query = (
        select(examples.c.id, lost.c.digest, events.c.label, lost.c.problem, lost.c.found_at)
        .select_from(_joined())
        .where(examples.c.id > min(max(after, 0), 2**63 - 1))
        .order_by(examples.c.id)
        .limit(limit)
    )
    return [LostImage(*row) for row in conn.execute(query)]


def count(conn: Connection) -> tuple[int, float | None]:
    """Their number, and when the first of them was found."""
    query = select(func.count(), func.min(lost.c.found_at)).select_from(_joined())
    row = conn.execute(query).one()
    return row[0], row[1]


def erase(
    store: Store, example_id: int, *, who: str, now: float, by: Actor | None = None
) -> list[LabelEvent]:
    """Retract the labels of an example whose image is lost. Returns the retractions. `by` is for
    the audit: `who`, if it is None.

    Raises UnknownExample if it is not lost, or has come back; InvalidRequest, StoreError.
    """
    check_plain("who", who, MAX_WHO_CHARACTERS)
    with store.db.read() as conn:
        found = listing(conn, limit=1, after=example_id - 1)
    if not found or found[0].example_id != example_id:
        raise UnknownExample(
            f"example {example_id} is not lost; GET /v1/lost-images lists those that are"
        )
    if _is_back(store, found[0].image):
        mark_found(store, [found[0].image])
        raise UnknownExample(f"the input of example {example_id} is there again, and is not lost")
    with store.db.write() as conn:
        labels.lock_order(conn)
        retractions = blanking.retract_all(conn, example_id, who=who, now=now)
        conn.execute(delete(embeddings).where(embeddings.c.example_id == example_id))
        lost_blobs.clear(conn, [found[0].image])
        retracted = [event.retracts for event in retractions]
        subject = f"example {example_id}"
        audit.record(conn, by or Actor(who), "example.erased", subject, now, retracted=retracted)
    return retractions


def note_if_missing(store: Store, image: str, now: float) -> None:
    """Record the image of an example as lost if it is absent. A store that is away says nothing."""
    try:
        store.blobs.size(image)
    except BlobMissing:
        mark_lost(store, {image: "missing"}, now)
    except StoreError:
        return


def mark_lost(store: Store, problems: Mapping[str, str], now: float) -> None:
    """Record how images are lost, by digest."""
    if problems:
        with store.db.write(durable=False) as conn:
            lost_blobs.record(conn, problems, now)


def mark_found(store: Store, images: Sequence[str]) -> None:
    """They are no longer lost."""
    if images:
        with store.db.write(durable=False) as conn:
            lost_blobs.clear(conn, images)


def returned(store: Store, images: Sequence[str]) -> list[str]:
    """Those of the first images that can be read again. Raises StoreError."""
    return [image for image in images[:_MOST_RECHECKED] if _is_back(store, image)]


def _is_back(store: Store, image: str) -> bool:
    try:
        store.blobs.get(image)
    except lost_blobs.LOST:
        return False
    return True


def _joined() -> Join:
    """Each lost image with its example, and with the event of the example's current label."""
    newest = (
        select(func.max(events.c.id))
        .where(events.c.example_id == examples.c.id, events.c.label.is_not(None), ~_IS_RETRACTED)
        .correlate(examples)
        .scalar_subquery()
    )
    with_example = lost.join(examples, examples.c.image == lost.c.digest)
    return with_example.join(events, events.c.id == newest)
