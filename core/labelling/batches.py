"""Batches: label events that were written together, and are undone as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    String,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from core import audit
from core.audit import Actor
from core.class_names import identity
from core.errors import RoleRequired, UnknownBatch
from core.labelling import labels
from core.labelling.classes import join_current
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.store.schema import classes
from core.store.schema import labels as events
from core.store.store import Store
from core.store.tables.metadata import row_id
from core.store.tables.review import label_batches
from core.store.tables.tallies import current_labels

_MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Batch:
    id: int
    # `feedback`, `rename`, `merge`, `delete` or `import`.
    kind: str
    who: str
    # Counts, and the names of the classes that a change names. Nothing of an image.
    detail: Mapping[str, Any]
    created_at: float
    undone_at: float | None


@dataclass(frozen=True, slots=True)
class Undone:
    batch_id: int
    # Label events of the batch that were in force.
    retracted: int
    # Examples that got back the label that the batch had taken.
    restored: int
    # Examples that keep a label which was given after the batch.
    kept: int


def add(conn: Connection, kind: str, who: str, detail: Mapping[str, Any], now: float) -> int:
    """Begin a batch, and return its id. The caller holds `labels.lock_order`."""
    values = {"kind": kind, "who": who, "detail": dict(detail), "created_at": now}
    key = conn.execute(insert(label_batches).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def set_detail(conn: Connection, batch_id: int, detail: Mapping[str, Any]) -> None:
    is_it = label_batches.c.id == batch_id
    conn.execute(update(label_batches).where(is_it).values(detail=dict(detail)))


def get(conn: Connection, batch_id: int) -> Batch:
    """Raises UnknownBatch."""
    row = None
    if 0 < batch_id <= _MAX_ID:
        query = select(label_batches).where(label_batches.c.id == batch_id)
        row = conn.execute(query).one_or_none()
    if row is None:
        raise UnknownBatch(f"batch {batch_id} does not exist; GET /v1/batches lists them")
    return Batch(*row)


def listing(conn: Connection, *, limit: int, before: int | None = None) -> list[Batch]:
    """Newest first; with `before`, those with lower ids."""
    query = select(label_batches).order_by(label_batches.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(label_batches.c.id < min(max(before, 0), _MAX_ID))
    return [Batch(*row) for row in conn.execute(query)]


def undo(
    store: Store,
    batch_id: int,
    *,
    who: str,
    now: float,
    only_own: bool = False,
    by: Actor | None = None,
) -> Undone:
    """Undo a batch: retract its labels, or give back those that it took. Labels given since stay.

    The result is the same if it was undone before. With `only_own`, a batch of `who`. Raises
    UnknownBatch, InvalidRequest, RoleRequired.
    """
    check_plain("who", who, MAX_WHO_CHARACTERS)
    with store.db.write() as conn, store.db.unlimited(conn):
        labels.lock_order(conn)
        batch = get(conn, batch_id)
        if only_own and batch.who != who:
            raise RoleRequired(
                f"batch {batch_id} is of somebody else: to undo it needs the role train"
            )
        if batch.undone_at is not None:
            counts = {name: batch.detail.get(name, 0) for name in _COUNTS}
            return Undone(batch_id, **counts)
        change = _give_back if batch.kind == "delete" else _retract
        undone = change(conn, batch, who, now)
        _restore_spelling(conn, batch)
        join_current(conn)
        counts = {name: getattr(undone, name) for name in _COUNTS}
        values = {"undone_at": now, "detail": {**batch.detail, **counts}}
        conn.execute(update(label_batches).where(label_batches.c.id == batch_id).values(values))
        audit.record(conn, by or Actor(who), "batch.undone", f"batch {batch_id}", now, **counts)
    return undone


_COUNTS = ("retracted", "restored", "kept")


def _retract(conn: Connection, batch: Batch, who: str, now: float) -> Undone:
    of_batch = (events.c.batch_id == batch.id, events.c.label.is_not(None), _is_in_force())
    newest = events.alias("newest")
    later = (
        select(func.count(events.c.example_id.distinct()))
        .join(current_labels, current_labels.c.example_id == events.c.example_id)
        .join(newest, newest.c.id == current_labels.c.event_id)
        .where(*of_batch, newest.c.batch_id.is_distinct_from(batch.id))
    )
    kept = int(conn.execute(later).scalar_one())
    given = events.c.batch_id == batch.id
    return Undone(batch.id, retract_each(conn, given, who=who, now=now), 0, kept)


def retract_each(
    conn: Connection,
    which: ColumnElement[bool],
    *,
    who: str,
    now: float,
    batch_id: int | None = None,
) -> int:
    """Retract those labels that are in force. Returns their number."""
    query = select(
        events.c.example_id,
        events.c.id,
        literal(who, String),
        literal(now, Float),
        literal(batch_id, row_id),
    ).where(which, events.c.label.is_not(None), _is_in_force())
    names = ["example_id", "retracts", "who", "created_at", "batch_id"]
    return _insert(conn, names, query.order_by(events.c.id))


def give_each(
    conn: Connection,
    example_ids: Select[tuple[int]],
    label: str,
    *,
    who: str,
    now: float,
    batch_id: int | None = None,
) -> int:
    """Give these examples a label. Returns their number."""
    chosen = example_ids.subquery("chosen")
    example_id = chosen.c[0]
    query = select(
        example_id,
        literal(label, String),
        literal(who, String),
        literal(now, Float),
        literal(batch_id, row_id),
    ).order_by(example_id)
    names = ["example_id", "label", "who", "created_at", "batch_id"]
    return _insert(conn, names, query)


def _give_back(conn: Connection, batch: Batch, who: str, now: float) -> Undone:
    """Give the labels that a deletion took once more, as a retraction stays one. Each is of its own
    batch again, so an earlier batch can be undone later. Those of batches undone before stay away.
    """
    retraction = events.alias("retraction")
    has_label = exists().where(current_labels.c.example_id == events.c.example_id)
    is_undone = exists().where(
        label_batches.c.id == events.c.batch_id, label_batches.c.undone_at.is_not(None)
    )
    taken = (
        select(
            events.c.example_id,
            events.c.label,
            literal(who, String),
            events.c.prediction_id,
            literal(now, Float),
            events.c.batch_id,
        )
        .join(retraction, retraction.c.retracts == events.c.id)
        # An erased example has none.
        .where(retraction.c.batch_id == batch.id, events.c.label.is_not(None), ~is_undone)
    )
    free = taken.where(~has_label)
    restored, kept = _num_examples(conn, free), _num_examples(conn, taken.where(has_label))
    names = ["example_id", "label", "who", "prediction_id", "created_at", "batch_id"]
    _insert(conn, names, free.order_by(events.c.id))
    return Undone(batch.id, 0, restored, kept)


def _num_examples(conn: Connection, taken: Select[Any]) -> int:
    number = func.count(events.c.example_id.distinct())
    return int(conn.execute(taken.with_only_columns(number)).scalar_one())


def _restore_spelling(conn: Connection, batch: Batch) -> None:
    """A rename may have given a class another display form."""
    spelling = batch.detail.get("spelling")
    if spelling is not None:
        is_it = (classes.c.identity == identity(spelling)) & (classes.c.name == batch.detail["to"])
        conn.execute(update(classes).where(is_it).values(name=spelling))


def _insert(conn: Connection, names: list[str], rows: Select[Any]) -> int:
    statement = insert(events).from_select(names, rows)
    return conn.execute(statement.execution_options(preserve_rowcount=True)).rowcount


def _is_in_force() -> ColumnElement[bool]:
    retraction = events.alias("retraction")
    return ~exists().where(retraction.c.retracts == events.c.id)
