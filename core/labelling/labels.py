"""Labels: an append-only log of events.

The current label of an example is its newest label event that is not retracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, insert, select, text

from core.store.schema import examples, labels
from core.store.tables.tallies import class_sizes, current_labels

# So many label events are counted one by one.
MAX_COUNTED = 1_000

_APPEND_LOCK = 7_140_222
_CURRENT = select(
    examples.c.id, examples.c.image, labels.c.label, examples.c.is_held_out, examples.c.group_id
).join(labels, labels.c.example_id == examples.c.id)


@dataclass(frozen=True, slots=True)
class LabelEvent:
    id: int
    example_id: int
    label: str | None
    retracts: int | None
    who: str
    prediction_id: str | None
    created_at: float
    # Of `label_batches`. None: it came alone.
    batch_id: int | None = None


@dataclass(frozen=True, slots=True)
class CurrentLabel:
    example_id: int
    image: str
    label: str
    is_held_out: bool
    group_id: str


def lock_order(conn: Connection) -> None:
    """Serialise the writers of labels, so that ids become visible in increasing order.

    Otherwise a snapshot could miss a lower id that commits later. SQLite has one writer at a time
    anyway. PostgreSQL assigns ids before the commit.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _APPEND_LOCK})


def append(
    conn: Connection,
    *,
    example_id: int,
    label: str | None,
    now: float,
    retracts: int | None = None,
    who: str = "anonymous",
    prediction_id: str | None = None,
    idempotency_key: str | None = None,
    batch_id: int | None = None,
) -> LabelEvent:
    result = conn.execute(
        insert(labels).values(
            example_id=example_id,
            label=label,
            retracts=retracts,
            who=who,
            prediction_id=prediction_id,
            idempotency_key=idempotency_key,
            created_at=now,
            batch_id=batch_id,
        )
    )
    key = result.inserted_primary_key
    assert key is not None
    return LabelEvent(key[0], example_id, label, retracts, who, prediction_id, now, batch_id)


def get(conn: Connection, event_id: int) -> LabelEvent | None:
    return _one(conn, labels.c.id == event_id) if 0 < event_id < 2**63 else None


def by_idempotency_key(conn: Connection, key: str) -> LabelEvent | None:
    return _one(conn, labels.c.idempotency_key == key)


def retraction_of(conn: Connection, event_id: int) -> LabelEvent | None:
    return _one(conn, labels.c.retracts == event_id)


def newest_id(conn: Connection) -> int:
    """Return the watermark: the highest event id, or 0 without events."""
    return int(conn.execute(select(func.coalesce(func.max(labels.c.id), 0))).scalar_one())


def moment_of(conn: Connection, event_id: int) -> float:
    """Return when the event was acknowledged, or the next one that exists. 0 for ids below 1."""
    if event_id <= 0:
        return 0.0
    query = (
        select(labels.c.created_at).where(labels.c.id >= event_id).order_by(labels.c.id).limit(1)
    )
    return conn.execute(query).scalar() or 0.0


def count_after(conn: Connection, snapshot: int) -> tuple[int, float | None, float | None]:
    """Return the number of events after a snapshot, and the times of the oldest and the newest.

    Above `MAX_COUNTED`, the number is that of ids, of which few have no event.
    """
    first = select(labels.c.id, labels.c.created_at).where(labels.c.id > snapshot)
    first_rows = first.order_by(labels.c.id).limit(MAX_COUNTED).subquery("first")
    times = func.min(first_rows.c.created_at), func.max(first_rows.c.created_at)
    number, last_id, oldest, newest = conn.execute(
        select(func.count(), func.max(first_rows.c.id), *times)
    ).one()
    if number == MAX_COUNTED:
        query = select(labels.c.id, labels.c.created_at).order_by(labels.c.id.desc()).limit(1)
        newest_id, newest_at = conn.execute(query).one()
        return number + newest_id - last_id, oldest, max(newest, newest_at)
    return number, oldest, newest


def has_any_after(conn: Connection, snapshot: int, names: Sequence[str]) -> bool:
    """Whether an event after the snapshot gives one of these labels."""
    query = select(labels.c.id).where(labels.c.id > snapshot, labels.c.label.in_(names))
    return conn.execute(query.order_by(labels.c.id).limit(1)).first() is not None


def times_between(conn: Connection, after: int, up_to: int) -> list[float]:
    """Return when the events in (after, up_to] were acknowledged."""
    query = select(labels.c.created_at).where(labels.c.id > after, labels.c.id <= up_to)
    return list(conn.execute(query).scalars())


def labelled_after(conn: Connection, after: int, limit: int) -> list[tuple[int, CurrentLabel]]:
    """Return the next label events after an id, with their examples, in order."""
    rows = conn.execute(
        select(
            labels.c.id,
            examples.c.id,
            examples.c.image,
            labels.c.label,
            examples.c.is_held_out,
            examples.c.group_id,
        )
        .join(examples, labels.c.example_id == examples.c.id)
        .where(labels.c.id > after, labels.c.label.is_not(None))
        .order_by(labels.c.id)
        .limit(limit)
    )
    return [(row[0], CurrentLabel(*row[1:])) for row in rows]


def events_of(conn: Connection, example_id: int, limit: int) -> list[LabelEvent]:
    """Return the newest label events of an example, oldest first."""
    columns = (labels.c[name] for name in LabelEvent.__dataclass_fields__)
    query = select(*columns).where(labels.c.example_id == example_id)
    rows = conn.execute(query.order_by(labels.c.id.desc()).limit(limit))
    return [LabelEvent(*row) for row in rows][::-1]


def current_page(
    conn: Connection, snapshot: int, *, after: int, limit: int
) -> tuple[list[CurrentLabel], int | None]:
    """Return the labels as of a snapshot of the next `limit` examples after an example id, and the
    id to go on after; None at the end. Examples without a label then are left out."""
    ids = select(examples.c.id).where(examples.c.id > after).order_by(examples.c.id)
    page = list(conn.scalars(ids.limit(limit)))
    if not page:
        return [], None
    newest = _events_of(snapshot).where(labels.c.example_id.in_(page))
    rows = conn.execute(_CURRENT.where(labels.c.id.in_(newest)).order_by(examples.c.id))
    return [CurrentLabel(*row) for row in rows], page[-1] if len(page) == limit else None


def current(conn: Connection, snapshot: int | None = None) -> list[CurrentLabel]:
    """Return each example's label as of a snapshot (now, if None), ordered by example id."""
    events = select(current_labels.c.event_id) if snapshot is None else _events_of(snapshot)
    rows = conn.execute(_CURRENT.where(labels.c.id.in_(events)).order_by(examples.c.id))
    return [CurrentLabel(*row) for row in rows]


def count_current(conn: Connection) -> list[tuple[str, bool, int]]:
    """Count the examples by current label. Returns (label, is_held_out, number) rows."""
    rows = conn.execute(select(class_sizes).where(class_sizes.c.examples > 0))
    return [(row.label, row.is_held_out, row.examples) for row in rows]


def _events_of(snapshot: int) -> Select[tuple[int]]:
    """Select the id of each example's newest label event not retracted, as of a snapshot."""
    retraction = labels.alias("retraction")
    retracted = select(retraction.c.retracts).where(
        retraction.c.retracts.is_not(None), retraction.c.id <= snapshot
    )
    is_label = labels.c.label.is_not(None) & (labels.c.id <= snapshot)
    return (
        select(func.max(labels.c.id))
        .where(is_label, labels.c.id.not_in(retracted))
        .group_by(labels.c.example_id)
    )


def _one(conn: Connection, condition: object) -> LabelEvent | None:
    columns = (labels.c[name] for name in LabelEvent.__dataclass_fields__)
    row = conn.execute(select(*columns).where(condition)).one_or_none()  # type: ignore[arg-type]
    return None if row is None else LabelEvent(*row)
