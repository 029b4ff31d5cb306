"""The audit: who did what, of what, when, with which key and in which request.

An event is written in the transaction of its change, so neither is there without the other.
Predictions are no events. Label events have the content; this table names their ids, so that an
erasure finds nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select, text

from core.store.database import Database
from core.store.tables.audit import audit_events

_ORDER_LOCK = 7_140_226
_MAX_SUBJECT_CHARACTERS = 300
_MAX_ID = 2**63 - 1
# Built once: building a statement takes longer than running it.
_INSERT = insert(audit_events)


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf something is done."""

    who: str
    key_id: str | None = None
    request_id: str | None = None


TRAINER = Actor("trainer")
SERVICE = Actor("evergreen")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    id: int
    at: float
    who: str
    key_id: str | None
    request_id: str | None
    # A noun and what was done to it, such as `label.given`.
    action: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def record(
    conn: Connection, by: Actor, action: str, subject: str, now: float, **detail: Any
) -> None:
    """Write an event into the transaction of its change. What is None is left out of the detail.

    It must come after every other lock of the transaction. PostgreSQL gives ids before the commit,
    and this lock lets ids become visible in increasing order, so that no reader skips one.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _ORDER_LOCK})
    values = {
        "at": now,
        "who": by.who,
        "key_id": by.key_id,
        "request_id": by.request_id,
        "action": action,
        "subject": subject[:_MAX_SUBJECT_CHARACTERS],
        "detail": {name: value for name, value in detail.items() if value is not None},
    }
    conn.execute(_INSERT, values)


def record_read(db: Database, by: Actor, action: str, subject: str, **detail: Any) -> None:
    """Write that something was read, such as an image or a model, before it is handed out.

    A power cut may lose it, because a read waits for no fsync. Raises StoreError.
    """
    with db.write(durable=False) as conn:
        record(conn, by, action, subject, db.clock(), **detail)


def listing(
    conn: Connection,
    *,
    limit: int,
    after: int = 0,
    before: int | None = None,
    action: str | None = None,
    who: str | None = None,
    since: float = 0.0,
) -> list[AuditEvent]:
    """Newest first: those with ids above `after` and below `before`."""
    if "\0" in f"{action}{who}":  # PostgreSQL refuses it, and no event has it
        return []
    columns = audit_events.c
    query = select(audit_events).where(columns.id > min(after, _MAX_ID))
    if before is not None:
        query = query.where(columns.id < min(before, _MAX_ID))
    if action is not None:
        query = query.where(columns.action == action)
    if who is not None:
        query = query.where(columns.who == who)
    if since:
        query = query.where(columns.at >= since)
    rows = conn.execute(query.order_by(columns.id.desc()).limit(limit))
    return [AuditEvent(*row) for row in rows]
