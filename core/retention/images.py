"""Images of predictions that nobody labelled: the oldest go, by age and by how much they take.

An image goes with the last prediction that keeps it, unless it is an example.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select, update

from core.errors import BlobMissing
from core.predictions import SWEPT
from core.retention import doomed
from core.retention.policy import CapturePolicy
from core.store.schema import examples, predictions
from core.store.store import Store

DAY_S = 86_400.0
BATCH = 200


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Older images go. The later of the two times counts."""

    by_age: float
    by_size: float

    @property
    def moment(self) -> float:
        return max(self.by_age, self.by_size)


def cutoff(conn: Connection, policy: CapturePolicy, now: float) -> Cutoff:
    """Reads the rows of all kept images, if their size is limited."""
    by_age = now - policy.max_days * DAY_S if policy.max_days else 0.0
    return Cutoff(by_age, _full_at(conn, policy.max_gb * 1e9) if policy.max_gb else 0.0)


def _full_at(conn: Connection, max_bytes: float) -> float:
    """The time of the newest image with which those from then on take more than `max_bytes`."""
    # With copies and labelled images. It takes a fraction of the time, and mostly decides.
    at_most = select(func.sum(predictions.c.kept_bytes)).where(
        predictions.c.kept_bytes.is_not(None)
    )
    if (conn.execute(at_most).scalar_one() or 0) <= max_bytes:
        return 0.0
    images = _distinct().subquery()
    so_far = func.sum(images.c.num_bytes).over(order_by=images.c.newest.desc())
    summed = select(images.c.newest, so_far.label("total")).subquery()
    query = select(func.max(summed.c.newest)).where(summed.c.total > max_bytes)
    return float(conn.execute(query).scalar_one() or 0.0)


def total(conn: Connection) -> tuple[int, int]:
    """The number of images that are kept and not labelled, and their bytes."""
    images = _distinct().subquery()
    query = select(func.count(), func.coalesce(func.sum(images.c.num_bytes), 0))
    row = conn.execute(query.select_from(images)).one()
    return int(row[0]), int(row[1])


def total_before(conn: Connection, moment: float) -> tuple[int, int]:
    """The same of the images of which no prediction from that moment on keeps one."""
    images = _distinct().subquery()
    query = select(func.count(), func.coalesce(func.sum(images.c.num_bytes), 0))
    row = conn.execute(query.where(images.c.newest <= moment)).one()
    return int(row[0]), int(row[1])


def _distinct() -> Select[tuple[float, int]]:
    """Each image once, with its size and its newest prediction. Examples are no part of it."""
    newest = func.max(predictions.c.created_at).label("newest")
    num_bytes = func.max(predictions.c.kept_bytes).label("num_bytes")
    return (
        select(newest, num_bytes)
        .where(predictions.c.kept_bytes.is_not(None), ~_is_example())
        .group_by(predictions.c.image)
    )


def _is_example() -> ColumnElement[bool]:
    return exists().where(examples.c.image == predictions.c.image)


def release(store: Store, moment: float) -> int:
    """Take the images of the oldest predictions up to a moment out of their rows, and doom them.

    Returns how many rows were changed, at most BATCH.
    """
    with store.db.read() as conn:
        query = (
            select(predictions.c.id, predictions.c.image, predictions.c.kept_bytes, _is_example())
            .where(predictions.c.kept_bytes.is_not(None), predictions.c.created_at <= moment)
            .order_by(predictions.c.created_at)
            .limit(BATCH)
        )
        rows = conn.execute(query).all()
    labelled = [row.id for row in rows if row[3]]
    swept = [row for row in rows if not row[3]]
    if rows:
        # Durable, so that no row names a deleted blob after a power cut.
        with store.db.write() as conn:
            _update(conn, labelled, kept_bytes=None, embedding=None)
            _update(
                conn,
                [row.id for row in swept],
                kept_bytes=None,
                embedding=None,
                capture=SWEPT,
            )
            doomed.doom(conn, doomed.IMAGE, {row.image: row.kept_bytes for row in swept})
    return len(rows)


def measure_unknown(store: Store, after: float) -> float | None:
    """Store the sizes of some images that an older release kept, of predictions after that time.
    Returns the time of the last one; None: there are no more."""
    with store.db.read() as conn:
        query = (
            select(predictions.c.id, predictions.c.image, predictions.c.created_at)
            .where(predictions.c.kept_bytes == 0, predictions.c.created_at > after)
            .order_by(predictions.c.created_at)
            .limit(BATCH)
        )
        rows = conn.execute(query).all()
    sizes = {row.id: _size(store, row.image) for row in rows}
    if sizes:
        with store.db.write(durable=False) as conn:
            for prediction_id, size in sizes.items():
                _update(conn, [prediction_id], kept_bytes=size, embedding=None)
    return float(rows[-1].created_at) if len(rows) == BATCH else None


def _size(store: Store, image: str) -> int | None:
    try:
        return store.blobs.size(image)
    except BlobMissing:
        return None


def _update(conn: Connection, ids: list[str], **values: object) -> None:
    if ids:
        conn.execute(update(predictions).where(predictions.c.id.in_(ids)).values(**values))
