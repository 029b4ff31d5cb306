"""Reservations: what a reviewer was shown a moment ago is not shown to anyone else meanwhile."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.dialects import postgresql, sqlite

from core.store.tables.review import reservations

#: So long nobody else is shown it.
RESERVED_S = 120.0
_ORDER_LOCK = 7_140_228


def of_others(conn: Connection, reviewer: str, now: float) -> set[str]:
    """The items that others were shown a moment ago."""
    columns = reservations.c
    query = select(columns.item).where(columns.expires_at > now, columns.reviewer != reviewer)
    return set(conn.scalars(query))


def lock(conn: Connection) -> None:
    """One reviewer at a time chooses. SQLite has one writer at a time anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _ORDER_LOCK})


def reserve(conn: Connection, items: Collection[str], reviewer: str, now: float) -> None:
    """Reserve items that nobody else has. The caller holds the lock. The expired ones go."""
    conn.execute(delete(reservations).where(reservations.c.expires_at <= now))
    if not items:
        return
    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    added = dialect.insert(reservations)
    again = {"reviewer": added.excluded.reviewer, "expires_at": added.excluded.expires_at}
    rows = [
        {"item": item, "reviewer": reviewer, "expires_at": now + RESERVED_S}
        for item in sorted(items)
    ]
    conn.execute(added.on_conflict_do_update(index_elements=["item"], set_=again), rows)
