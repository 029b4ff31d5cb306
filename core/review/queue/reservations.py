"""Reservations: what a reviewer was shown a moment ago is not shown to anyone else meanwhile."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.dialects import postgresql, sqlite

from core.store.tables.review import reservations

#: So long nobody else is shown it.
RESERVED_S = 120.0
_ORDER_LOCK = 7_140_228


class Held(NamedTuple):
    """What was shown a moment ago, to the reviewer and to others."""

    own: set[str]
    of_others: set[str]


def held(conn: Connection, reviewer: str, now: float) -> Held:
    query = select(reservations.c.item, reservations.c.reviewer)
    found = Held(set(), set())
    for item, who in conn.execute(query.where(reservations.c.expires_at > now)):
        (found.own if who == reviewer else found.of_others).add(item)
    return found


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
