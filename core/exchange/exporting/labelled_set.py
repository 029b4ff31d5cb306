"""The labelled set as of a snapshot, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, exists, func, select

from core.store.database import Database
from core.store.schema import examples, labels

_PAGE = 500


class LabelledImage(NamedTuple):
    id: int
    image: str
    label: str
    is_held_out: bool
    source: str
    who: str
    labelled_at: float


def labelled_set(db: Database, snapshot: int) -> Iterator[LabelledImage]:
    """By id. No transaction is open while the caller works on a page. Raises StoreError."""
    after: int | None = 0
    while after is not None:
        with db.read() as conn:
            page, after = read_page(conn, snapshot, after=after, limit=_PAGE)
        yield from page


def read_page(
    conn: Connection, snapshot: int, *, after: int, limit: int
) -> tuple[list[LabelledImage], int | None]:
    """The next `limit` examples, without those that have no label then, and the id to go on after;
    None at the end."""
    query = select(examples.c.id).where(examples.c.id > after).order_by(examples.c.id)
    ids = list(conn.scalars(query.limit(limit)))
    if not ids:
        return [], None
    retraction = labels.alias("retraction")
    is_retracted = exists().where(retraction.c.retracts == labels.c.id, retraction.c.id <= snapshot)
    newest = (
        select(func.max(labels.c.id))
        .where(
            labels.c.example_id.in_(ids),
            labels.c.id <= snapshot,
            labels.c.label.is_not(None),
            ~is_retracted,
        )
        .group_by(labels.c.example_id)
    )
    rows = conn.execute(
        select(
            examples.c.id,
            examples.c.image,
            labels.c.label,
            examples.c.is_held_out,
            examples.c.source,
            labels.c.who,
            labels.c.created_at,
        )
        .join(labels, labels.c.example_id == examples.c.id)
        .where(labels.c.id.in_(newest))
        .order_by(examples.c.id)
    )
    return [LabelledImage(*row) for row in rows], ids[-1] if len(ids) == limit else None
