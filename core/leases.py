"""Leases: a trainer holds a run as long as it renews its lease.

When a trainer dies, its lease expires, and another trainer can claim the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, update

from core import runs
from core.runs import QUICK, Run
from core.store.schema import runs as table

LEASE_S = 15.0
MAX_ATTEMPTS = 3
_WAITING = {"state": "waiting", "step": "waiting", "owner": None}


def is_valid(run: Run, now: float) -> bool:
    """Whether its trainer renewed the lease of late. One of an hour ahead was renewed before the
    clock was set back."""
    return abs(now - (run.heartbeat_at or 0.0)) < LEASE_S


def is_to_do(run: Run, now: float) -> bool:
    """Whether it waits, or its trainer died."""
    return run.state == "waiting" or (run.state == "running" and not is_valid(run, now))


def claim(conn: Connection, owner: str, now: float, tiers: Sequence[str] = QUICK) -> Run | None:
    """Claim a run of these tiers whose trainer died, or else one that waits. None while a run of
    the tier has a valid lease."""
    runs.lock(conn)
    for tier in tiers:
        claimed = _claim(conn, owner, now, tier)
        if claimed is not None:
            return claimed
    return None


def _claim(conn: Connection, owner: str, now: float, tier: str) -> Run | None:
    running = runs.in_state(conn, "running", tier)
    if running is not None:
        if is_valid(running, now):
            return None
        if not _give_up_on(conn, running, now):
            # It goes on before the run that waits, which keeps its place.
            return _take(conn, running, owner, now)
    waiting = runs.in_state(conn, "waiting", tier)
    return None if waiting is None else _take(conn, waiting, owner, now)


def _take(conn: Connection, run: Run, owner: str, now: float) -> Run | None:
    """None if another trainer was faster."""
    result = conn.execute(
        update(table)
        .where(_as_read(run))
        .values(
            state="running",
            step="starting",
            owner=owner,
            heartbeat_at=now,
            attempts=table.c.attempts + 1,
            started_at=func.coalesce(table.c.started_at, now),
        )
    )
    return runs.get(conn, run.id) if result.rowcount == 1 else None


def _as_read(run: Run) -> ColumnElement[bool]:
    """The run, unless a trainer has claimed it or renewed its lease meanwhile."""
    same = (table.c.id == run.id) & (table.c.state == run.state)
    return same & table.c.heartbeat_at.is_not_distinct_from(run.heartbeat_at)


def beat(conn: Connection, run_id: str, owner: str, now: float, step: str, progress: float) -> bool:
    """Renew the lease and report progress (0 to 1). False: stop, the run was cancelled or lost."""
    result = conn.execute(
        update(table)
        .where(
            table.c.id == run_id,
            table.c.owner == owner,
            table.c.state == "running",
            table.c.is_cancel_requested.is_(False),
        )
        .values(heartbeat_at=now, step=step, progress=progress)
    )
    return result.rowcount == 1


def finish(
    conn: Connection,
    run_id: str,
    owner: str,
    *,
    state: str,
    now: float,
    outcome: str | None = None,
    version: int | None = None,
    reason: str | None = None,
    error: str | None = None,
) -> bool:
    """End a run. False if this owner does not hold it."""
    held = (table.c.id == run_id) & (table.c.owner == owner) & (table.c.state == "running")
    fields: dict[str, Any] = {
        "outcome": outcome,
        "version": version,
        "reason": reason,
        "error": error,
    }
    if state == "finished":
        fields["progress"] = 1.0
    return runs.end(conn, held, state, now, **fields)


def hand_back(conn: Connection, run_id: str, owner: str, now: float) -> None:
    """Return a run unfinished: the next trainer continues it, before a newer one that waits."""
    runs.lock(conn)
    held = (table.c.id == run_id) & (table.c.owner == owner) & (table.c.state == "running")
    run = runs.get(conn, run_id)
    if run.owner != owner or run.state != "running":
        return
    # The run did not fail, so the attempt does not count.
    attempts = table.c.attempts - 1
    if run.is_cancel_requested:
        reason = "cancelled on request"
        runs.end(conn, held, "cancelled", now, reason=reason, attempts=attempts)
    elif runs.in_state(conn, "waiting", run.tier) is not None:
        # Only one may wait, so this one keeps its state, without a lease.
        values = {"step": "waiting", "owner": None, "heartbeat_at": None}
        conn.execute(update(table).where(held).values(**values, attempts=attempts))
    else:
        conn.execute(update(table).where(held).values(**_WAITING, attempts=attempts))


def _give_up_on(conn: Connection, run: Run, now: float) -> bool:
    """Its trainer died. End it if it was cancelled or has failed often. Returns whether it was."""
    if run.is_cancel_requested:
        runs.end(conn, _as_read(run), "cancelled", now, reason="cancelled on request")
        return True
    if run.attempts >= MAX_ATTEMPTS:
        error = f"its trainer stopped responding (attempt {run.attempts} of {MAX_ATTEMPTS})"
        runs.end(conn, _as_read(run), "failed", now, error=error)
        return True
    return False
