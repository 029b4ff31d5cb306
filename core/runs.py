"""Runs: one training each. Requested by anyone, claimed by one trainer under a lease.

    waiting -> running -> finished (outcome: promoted | held-back)
                       -> failed | cancelled
               running -> waiting   (its trainer died; at most 3 attempts)

Of each tier at most one run waits and at most one runs: the database holds this, so requests
coalesce. Tiers differ in how long they take; the quick one does not wait for the long ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from core import predictions
from core.errors import RunFinished, UnknownRun
from core.schema import runs

LEASE_S = 15.0
MAX_ATTEMPTS = 3
_MOVE_LOCK = 7_140_224
UNFINISHED = ("waiting", "running")
# A new head on embeddings that are there: seconds.
QUICK: tuple[str, ...] = ("head",)
# A new backbone, or new weights for its blocks: minutes.
LONG: tuple[str, ...] = ("backbone", "blocks")


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    trigger: str
    tier: str
    state: str
    snapshot: int | None
    parameters: dict[str, Any]
    step: str
    progress: float
    owner: str | None
    heartbeat_at: float | None
    attempts: int
    is_cancel_requested: bool
    outcome: str | None
    version: int | None
    reason: str | None
    error: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def is_finished(self) -> bool:
        return self.state not in UNFINISHED

    def is_to_do(self, now: float) -> bool:
        """It waits, or the trainer that had it died."""
        return self.state == "waiting" or (
            self.state == "running" and now - (self.heartbeat_at or 0.0) > LEASE_S
        )


def request(
    conn: Connection,
    *,
    trigger: str,
    now: float,
    tier: str = "head",
    wanted: dict[str, Any] | None = None,
) -> tuple[Run, bool]:
    """Ask for a run. Returns the one of its tier that waits already if there is one, and whether
    it is new. What is `wanted` of it replaces what was wanted of the one that waits."""
    _lock_moves(conn)
    found = _in_state(conn, "waiting", tier)
    if found is not None:
        if wanted is not None:
            _set_wanted(conn, found, wanted)
        return get(conn, found.id), False
    run_id = predictions.new_id()
    conn.execute(
        insert(runs).values(
            id=run_id,
            trigger=trigger,
            tier=tier,
            state="waiting",
            parameters={"wanted": wanted} if wanted else {},
            step="waiting",
            progress=0.0,
            attempts=0,
            is_cancel_requested=False,
            created_at=now,
        )
    )
    return get(conn, run_id), True


def claim(conn: Connection, owner: str, now: float, tiers: Sequence[str] = QUICK) -> Run | None:
    """Take a waiting run of these tiers, unless one of its tier is running under a lease that
    still holds."""
    _lock_moves(conn)
    for tier in tiers:
        claimed = _claim(conn, owner, now, tier)
        if claimed is not None:
            return claimed
    return None


def _claim(conn: Connection, owner: str, now: float, tier: str) -> Run | None:
    running = _in_state(conn, "running", tier)
    if running is not None:
        if now - (running.heartbeat_at or 0.0) < LEASE_S:
            return None
        _give_up_on(conn, running, now)
    waiting = _in_state(conn, "waiting", tier)
    if waiting is None:
        return None
    result = conn.execute(
        update(runs)
        .where(runs.c.id == waiting.id, runs.c.state == "waiting")
        .values(
            state="running",
            step="starting",
            owner=owner,
            heartbeat_at=now,
            attempts=runs.c.attempts + 1,
            started_at=func.coalesce(runs.c.started_at, now),
        )
    )
    return get(conn, waiting.id) if result.rowcount == 1 else None


def beat(conn: Connection, run_id: str, owner: str, now: float, step: str, progress: float) -> bool:
    """Keep the lease and show progress (0 to 1). False: stop, it was cancelled or lost."""
    result = conn.execute(
        update(runs)
        .where(
            runs.c.id == run_id,
            runs.c.owner == owner,
            runs.c.state == "running",
            runs.c.is_cancel_requested.is_(False),
        )
        .values(heartbeat_at=now, step=step, progress=progress)
    )
    return result.rowcount == 1


def set_snapshot(conn: Connection, run_id: str, snapshot: int, recipe: dict[str, Any]) -> None:
    """What the run trains on, and how."""
    parameters = get(conn, run_id).parameters | {"recipe": recipe}
    conn.execute(
        update(runs).where(runs.c.id == run_id).values(snapshot=snapshot, parameters=parameters)
    )


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
    """End a run that this owner still holds. False if it does not."""
    done = {"progress": 1.0} if state == "finished" else {}
    result = conn.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.owner == owner, runs.c.state == "running")
        .values(
            state=state,
            step=state,
            outcome=outcome,
            version=version,
            reason=reason,
            error=error,
            finished_at=now,
            **done,
        )
    )
    return result.rowcount == 1


def hand_back(conn: Connection, run_id: str, owner: str, now: float) -> None:
    """Give a run up unfinished; a newer request that waits stands in for it."""
    _lock_moves(conn)
    held = (runs.c.id == run_id) & (runs.c.owner == owner) & (runs.c.state == "running")
    run = _one(conn, held)
    if run is None:
        return
    values: dict[str, Any] = {"state": "waiting", "step": "waiting", "owner": None}
    if run.is_cancel_requested:
        values = _cancelled("cancelled on request", now)
    elif _in_state(conn, "waiting", run.tier) is not None:
        values = _cancelled("a newer request stands in", now)
    # It was no fault of the run's: the attempt does not count.
    conn.execute(update(runs).where(held).values(**values, attempts=runs.c.attempts - 1))


def cancel(conn: Connection, run_id: str, now: float) -> Run:
    """Cancel at once what waits; ask what runs to stop. Raises UnknownRun, RunFinished."""
    run = get(conn, run_id)
    if run.is_finished:
        raise RunFinished(f"run {run_id} has {run.state} already; only an unfinished one stops")
    changed = conn.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state == "waiting")
        .values(**_cancelled("cancelled on request", now), is_cancel_requested=True)
    )
    if changed.rowcount == 0:
        conn.execute(
            update(runs)
            .where(runs.c.id == run_id, runs.c.state == "running")
            .values(is_cancel_requested=True)
        )
    return get(conn, run_id)


def get(conn: Connection, run_id: str) -> Run:
    """Raises UnknownRun."""
    found = _one(conn, runs.c.id == run_id) if predictions.may_be_id(run_id) else None
    if found is None:
        raise UnknownRun(f"run {run_id[:40]!r} does not exist; /v1/runs lists them")
    return found


def unfinished(conn: Connection) -> Sequence[Run]:
    rows = conn.execute(select(runs).where(runs.c.state.in_(UNFINISHED)))
    return [Run(*row) for row in rows]


def listing(conn: Connection, limit: int) -> list[Run]:
    """Newest first."""
    rows = conn.execute(select(runs).order_by(runs.c.created_at.desc()).limit(limit))
    return [Run(*row) for row in rows]


def newest_snapshot(conn: Connection) -> int:
    """The highest label event that any finished run has seen: what is above is new."""
    snapshot: int = conn.execute(
        select(func.coalesce(func.max(runs.c.snapshot), 0)).where(runs.c.state == "finished")
    ).scalar_one()
    return snapshot


def last_of(conn: Connection, tiers: Sequence[str] = (*QUICK, *LONG)) -> Run | None:
    """The run that ended last."""
    row = conn.execute(
        select(runs)
        .where(runs.c.finished_at.is_not(None), runs.c.tier.in_(tiers))
        .order_by(runs.c.finished_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Run(*row)


def _lock_moves(conn: Connection) -> None:
    """One at a time makes a run wait or claims one, or two would wait for each other.

    SQLite has one writer anyway.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MOVE_LOCK})


def _give_up_on(conn: Connection, run: Run, now: float) -> None:
    """Its trainer died. Try again, unless it was tried often or a newer request stands in."""
    error = f"its trainer stopped answering (attempt {run.attempts} of {MAX_ATTEMPTS})"
    if run.is_cancel_requested:
        values = _cancelled("cancelled on request", now)
    elif run.attempts < MAX_ATTEMPTS and _in_state(conn, "waiting", run.tier) is None:
        values = {"state": "waiting", "step": "waiting", "owner": None}
    else:
        values = {"state": "failed", "step": "failed", "error": error, "finished_at": now}
    expired = (runs.c.state == "running") & (runs.c.heartbeat_at == run.heartbeat_at)
    conn.execute(update(runs).where(runs.c.id == run.id, expired).values(**values))


def _cancelled(reason: str, now: float) -> dict[str, Any]:
    return {"state": "cancelled", "step": "cancelled", "reason": reason, "finished_at": now}


def _in_state(conn: Connection, state: str, tier: str) -> Run | None:
    return _one(conn, (runs.c.state == state) & (runs.c.tier == tier))


def _set_wanted(conn: Connection, run: Run, wanted: dict[str, Any]) -> None:
    parameters = run.parameters | {"wanted": wanted}
    conn.execute(update(runs).where(runs.c.id == run.id).values(parameters=parameters))


def _one(conn: Connection, condition: Any) -> Run | None:
    row = conn.execute(select(runs).where(condition)).one_or_none()
    return None if row is None else Run(*row)
