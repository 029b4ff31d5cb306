"""Runs: one training each. Requested by anyone, claimed by one trainer under a lease.

    waiting -> running -> finished (outcome: promoted | held-back)
                       -> failed | cancelled
               running -> waiting   (its trainer died; at most 3 attempts)

At most one run waits and at most one runs: the database holds this, so requests coalesce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core import predictions
from core.errors import RunFinished, UnknownRun
from core.schema import runs

LEASE_S = 15.0
MAX_ATTEMPTS = 3
UNFINISHED = ("waiting", "running")


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


def request(conn: Connection, *, trigger: str, now: float) -> tuple[Run, bool]:
    """Ask for a run. Returns the one that waits already if there is one, and whether it is new."""
    run_id = predictions.new_id()
    try:
        with conn.begin_nested():
            conn.execute(
                insert(runs).values(
                    id=run_id,
                    trigger=trigger,
                    tier="head",
                    state="waiting",
                    parameters={},
                    step="waiting",
                    progress=0.0,
                    attempts=0,
                    is_cancel_requested=False,
                    created_at=now,
                )
            )
    except IntegrityError:
        found = _one(conn, runs.c.state == "waiting")
        if found is None:  # it was claimed in between
            return request(conn, trigger=trigger, now=now)
        return found, False
    return get(conn, run_id), True


def claim(conn: Connection, owner: str, now: float) -> Run | None:
    """Take the waiting run, unless one is running under a lease that still holds."""
    running = _one(conn, runs.c.state == "running")
    if running is not None:
        if now - (running.heartbeat_at or 0.0) < LEASE_S:
            return None
        _give_up_on(conn, running, now)
    waiting = _one(conn, runs.c.state == "waiting")
    if waiting is None:
        return None
    try:
        with conn.begin_nested():
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
    except IntegrityError:
        return None  # another trainer was first
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


def set_snapshot(conn: Connection, run_id: str, snapshot: int, parameters: dict[str, Any]) -> None:
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
    held = (runs.c.id == run_id) & (runs.c.owner == owner) & (runs.c.state == "running")
    # It was no fault of the run's: the attempt does not count.
    fewer = runs.c.attempts - 1
    wanted = held & runs.c.is_cancel_requested.is_(False)
    if _wait_again(conn, wanted, attempts=fewer):
        return
    reason = case(
        (runs.c.is_cancel_requested, "cancelled on request"), else_="a newer request stands in"
    )
    conn.execute(
        update(runs)
        .where(held)
        .values(state="cancelled", step="cancelled", reason=reason, attempts=fewer, finished_at=now)
    )


def cancel(conn: Connection, run_id: str, now: float) -> Run:
    """Cancel at once what waits; ask what runs to stop. Raises UnknownRun, RunFinished."""
    run = get(conn, run_id)
    if run.is_finished:
        raise RunFinished(f"run {run_id} has {run.state} already; only an unfinished one stops")
    changed = conn.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state == "waiting")
        .values(
            state="cancelled",
            step="cancelled",
            is_cancel_requested=True,
            reason="cancelled on request",
            finished_at=now,
        )
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


def last_of(conn: Connection) -> Run | None:
    """The run that ended last."""
    row = conn.execute(
        select(runs)
        .where(runs.c.finished_at.is_not(None))
        .order_by(runs.c.finished_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Run(*row)


def _give_up_on(conn: Connection, run: Run, now: float) -> None:
    """Its trainer died. Try again, unless it was tried often or a newer request stands in."""
    expired = (
        (runs.c.id == run.id)
        & (runs.c.state == "running")
        & (runs.c.heartbeat_at == run.heartbeat_at)
    )
    if run.attempts < MAX_ATTEMPTS and not run.is_cancel_requested and _wait_again(conn, expired):
        return
    state = "cancelled" if run.is_cancel_requested else "failed"
    conn.execute(
        update(runs)
        .where(expired)
        .values(
            state=state,
            step=state,
            error=f"its trainer stopped answering (attempt {run.attempts} of {MAX_ATTEMPTS})",
            finished_at=now,
        )
    )


def _wait_again(conn: Connection, condition: ColumnElement[bool], **values: Any) -> bool:
    """Put a run back to wait. False if another one waits by now, or it meets no condition."""
    try:
        with conn.begin_nested():
            result = conn.execute(
                update(runs)
                .where(condition)
                .values(state="waiting", step="waiting", owner=None, **values)
            )
    except IntegrityError:
        return False
    return result.rowcount == 1


def _one(conn: Connection, condition: Any) -> Run | None:
    row = conn.execute(select(runs).where(condition)).one_or_none()
    return None if row is None else Run(*row)
