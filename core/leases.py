"""Leases: a trainer holds a run as long as it renews its lease.

When a trainer dies, its lease expires, and another trainer can claim the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, update

from core import runs
from core.runs import QUICK, Run
from core.store.schema import runs as table

LEASE_S = 15.0
MAX_ATTEMPTS = 3
_WAITING = {"state": "waiting", "step": "waiting", "owner": None}


def is_to_do(run: Run, now: float) -> bool:
    """Whether it waits, or its trainer died."""
    return run.state == "waiting" or (
        run.state == "running" and now - (run.heartbeat_at or 0.0) > LEASE_S
    )


def claim(conn: Connection, owner: str, now: float, tiers: Sequence[str] = QUICK) -> Run | None:
    """Claim a waiting run of these tiers, unless a run of its tier has a valid lease."""
    runs.lock(conn)
    for tier in tiers:
        claimed = _claim(conn, owner, now, tier)
        if claimed is not None:
            return claimed
    return None


def _claim(conn: Connection, owner: str, now: float, tier: str) -> Run | None:
    running = runs.in_state(conn, "running", tier)
    if running is not None:
        if now - (running.heartbeat_at or 0.0) < LEASE_S:
            return None
        _give_up_on(conn, running, now)
    waiting = runs.in_state(conn, "waiting", tier)
    if waiting is None:
        return None
    result = conn.execute(
        update(table)
        .where(table.c.id == waiting.id, table.c.state == "waiting")
        .values(
            state="running",
            step="starting",
            owner=owner,
            heartbeat_at=now,
            attempts=table.c.attempts + 1,
            started_at=func.coalesce(table.c.started_at, now),
        )
    )
    return runs.get(conn, waiting.id) if result.rowcount == 1 else None


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
    """Return a run unfinished: it waits again, unless a newer request waits already."""
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
        reason = "a newer request replaces it"
        runs.end(conn, held, "cancelled", now, reason=reason, attempts=attempts)
    else:
        conn.execute(update(table).where(held).values(**_WAITING, attempts=attempts))


def _give_up_on(conn: Connection, run: Run, now: float) -> None:
    """Its trainer died. Let it wait again, unless it failed often or a newer request waits."""
    expired = (table.c.state == "running") & (table.c.heartbeat_at == run.heartbeat_at)
    same = (table.c.id == run.id) & expired
    if run.is_cancel_requested:
        runs.end(conn, same, "cancelled", now, reason="cancelled on request")
    elif run.attempts < MAX_ATTEMPTS and runs.in_state(conn, "waiting", run.tier) is None:
        conn.execute(update(table).where(same).values(**_WAITING))
    else:
        error = f"its trainer stopped responding (attempt {run.attempts} of {MAX_ATTEMPTS})"
        runs.end(conn, same, "failed", now, error=error)
