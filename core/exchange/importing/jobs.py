"""Imports as rows: what was asked for, how far it is, and which process works on it.

The archive is a file of the machine that took it, so a process of that machine works on it, one
import at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, insert, select, update

from core import audit
from core.audit import Actor
from core.errors import ImportFinished, UnknownImport
from core.exchange.importing.report import Report
from core.exchange.reading.items import Layout
from core.ids import may_be_id
from core.store.database import Database
from core.store.tables.review import imports

LEASE_S = 15.0
UNFINISHED = ("waiting", "running")
_MAX_ERROR_CHARACTERS = 1_000
_IS_UNFINISHED = imports.c.finished_at.is_(None)
_IS_ANY_UNFINISHED = select(exists().where(_IS_UNFINISHED))


@dataclass(frozen=True, slots=True)
class Import:
    id: str
    state: str
    name: str
    num_bytes: int
    who: str
    key_id: str | None
    host: str
    owner: str | None
    heartbeat_at: float | None
    position: int
    total: int | None
    batch_id: int | None
    # That of `Report`, with `layout`, and `attempts`: where it was when a process died of it, and
    # how often.
    report: Mapping[str, Any]
    # Where a table has what; None: an archive.
    options: Mapping[str, Any] | None
    is_cancel_requested: bool
    error: str | None
    created_at: float
    finished_at: float | None

    @property
    def is_finished(self) -> bool:
        return self.state not in UNFINISHED

    def is_held(self, now: float) -> bool:
        """Whether a process works on it. A heartbeat of an hour ahead is from before the clock was
        set back."""
        is_fresh = abs(now - (self.heartbeat_at or 0.0)) < LEASE_S
        return self.state == "running" and is_fresh


def add(
    conn: Connection,
    import_id: str,
    *,
    name: str,
    num_bytes: int,
    who: str,
    host: str,
    layout: Layout,
    by: Actor,
    now: float,
    options: Mapping[str, Any] | None = None,
) -> Import:
    """Ask for an import. Its file is there already."""
    conn.execute(
        insert(imports).values(
            id=import_id,
            state="waiting",
            name=name,
            num_bytes=num_bytes,
            who=who,
            key_id=by.key_id,
            host=host,
            heartbeat_at=now,
            position=0,
            report={**Report().to_json(), "layout": layout},
            options=options,
            is_cancel_requested=False,
            created_at=now,
        )
    )
    audit.record(conn, by, "import.requested", f"import {import_id}", now, bytes=num_bytes)
    return get(conn, import_id)


def get(conn: Connection, import_id: str) -> Import:
    """Raises UnknownImport."""
    row = None
    if may_be_id(import_id):
        row = conn.execute(select(imports).where(imports.c.id == import_id)).one_or_none()
    if row is None:
        raise UnknownImport(f"import {import_id[:40]!r} does not exist; GET /v1/imports lists them")
    return Import(*row)


def listing(conn: Connection, limit: int, before: str | None = None) -> list[Import]:
    """Newest first; with `before`, those older than this one. Raises UnknownImport."""
    query = select(imports).order_by(imports.c.created_at.desc(), imports.c.id.desc())
    if before is not None:
        last = get(conn, before)
        is_older = (imports.c.created_at == last.created_at) & (imports.c.id < last.id)
        query = query.where((imports.c.created_at < last.created_at) | is_older)
    return [Import(*row) for row in conn.execute(query.limit(limit))]


def unfinished(conn: Connection) -> list[Import]:
    """Oldest first."""
    query = select(imports).where(_IS_UNFINISHED)
    return [Import(*row) for row in conn.execute(query.order_by(imports.c.created_at))]


def is_any_unfinished(db: Database) -> bool:
    """Asked all the time: it is one statement. Raises StoreError."""
    (found,) = db.fetch_row(_IS_ANY_UNFINISHED)
    return bool(found)


def is_any_held(conn: Connection, now: float) -> bool:
    """Whether an import is worked on."""
    is_fresh = imports.c.heartbeat_at.between(now - LEASE_S, now + LEASE_S)
    query = select(imports.c.id).where(_IS_UNFINISHED, imports.c.state == "running", is_fresh)
    return conn.execute(query.limit(1)).first() is not None


def cancel(conn: Connection, import_id: str, by: Actor, now: float) -> Import:
    """A waiting import ends at once, and a running one at its next transaction. What it has
    labelled stays. Raises UnknownImport, ImportFinished."""
    found = get(conn, import_id)
    if found.is_finished:
        raise ImportFinished(
            f"import {found.id} is {found.state}; undo its labels with DELETE "
            f"/v1/batches/{found.batch_id}"
            if found.batch_id is not None
            else f"import {found.id} is {found.state}, and has labelled nothing"
        )
    is_it = imports.c.id == found.id
    waits = is_it & (imports.c.state == "waiting")
    values = {"is_cancel_requested": True, "state": "cancelled", "finished_at": now}
    if conn.execute(update(imports).where(waits).values(values)).rowcount == 0:
        conn.execute(update(imports).where(is_it).values(is_cancel_requested=True))
    audit.record(conn, by, "import.cancelled", f"import {found.id}", now)
    return get(conn, found.id)


def save(conn: Connection, held: Import, now: float, **values: Any) -> bool:
    """Renew the lease, and store what has changed. False: stop; it was cancelled, or another
    process has taken it."""
    result = conn.execute(
        update(imports)
        .where(
            imports.c.id == held.id,
            imports.c.owner == held.owner,
            imports.c.state == "running",
            imports.c.is_cancel_requested.is_(False),
        )
        .values(heartbeat_at=now, **values)
    )
    return result.rowcount == 1


def finish(
    conn: Connection, held: Import, state: str, now: float, error: str | None = None
) -> None:
    """End an import, if this process still holds it."""
    conn.execute(
        update(imports)
        .where(imports.c.id == held.id, imports.c.owner == held.owner)
        .where(imports.c.state == "running")
        .values(
            state=state,
            finished_at=now,
            owner=None,
            error=None if error is None else error[:_MAX_ERROR_CHARACTERS],
        )
    )


def hand_back(conn: Connection, held: Import, now: float) -> None:
    """Let another process of the machine go on with it."""
    conn.execute(
        update(imports)
        .where(imports.c.id == held.id, imports.c.owner == held.owner)
        .where(imports.c.state == "running")
        .values(state="waiting", owner=None, heartbeat_at=now)
    )
