"""Runs: one training each. Any process requests a run; one trainer does it (`core/leases.py`).

    waiting -> running -> finished (outcome: promoted | held-back)
                       -> failed | cancelled
               running -> waiting   (its trainer died; at most 3 attempts)

A unique index allows one waiting and one running run per tier. A second request returns the
waiting run. The quick tier does not wait for the long ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, text, update

from core import audit
from core.audit import TRAINER, Actor
from core.errors import RunFinished, UnknownRun
from core.ids import may_be_id, new_id
from core.store import run_tallies
from core.store.schema import runs

_END_OF_TIME = 1e18
_MOVE_LOCK = 7_140_224
UNFINISHED = ("waiting", "running")
# A new head on stored embeddings: seconds.
QUICK: tuple[str, ...] = ("head",)
# Another backbone, or fine-tuned blocks: minutes.
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


def request(
    conn: Connection,
    *,
    trigger: str,
    now: float,
    tier: str = "head",
    wanted: dict[str, Any] | None = None,
    by: Actor = TRAINER,
) -> tuple[Run, bool]:
    """Request a run. Returns the run that waits, and whether it is new.

    A run of the tier that waits already takes `wanted` over.
    """
    lock(conn)
    waiting = in_state(conn, "waiting", tier)
    if waiting is not None:
        if wanted is not None:
            _set_wanted(conn, waiting, wanted)
            audit.record(conn, by, "run.changed", f"run {waiting.id}", now, tier=tier)
        return get(conn, waiting.id), False
    run_id = new_id()
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
    audit.record(conn, by, "run.requested", f"run {run_id}", now, tier=tier, trigger=trigger)
    return get(conn, run_id), True


def set_snapshot(
    conn: Connection, run_id: str, snapshot: int, recipe: dict[str, Any], num_trained: int
) -> None:
    """Store the newest label event that the run trains on, its recipe and number of examples."""
    numbers = {"recipe": recipe, "num_trained": num_trained}
    parameters = get(conn, run_id).parameters | numbers
    conn.execute(
        update(runs).where(runs.c.id == run_id).values(snapshot=snapshot, parameters=parameters)
    )


def add_epoch(conn: Connection, run_id: str, epoch: dict[str, float]) -> None:
    """Store what an epoch of fine-tuning measured. Repeated, it replaces itself and those after."""
    parameters = get(conn, run_id).parameters
    before = [each for each in parameters.get("epochs", []) if each["epoch"] < epoch["epoch"]]
    parameters |= {"epochs": [*before, epoch]}
    conn.execute(update(runs).where(runs.c.id == run_id).values(parameters=parameters))


def forget_snapshot(conn: Connection, run_id: str) -> None:
    """Let the run read the labels anew when it is done again."""
    conn.execute(update(runs).where(runs.c.id == run_id).values(snapshot=None))


def cancel(conn: Connection, run_id: str, now: float, by: Actor = TRAINER) -> Run:
    """Cancel a waiting run immediately; request a running one to stop.

    Raises UnknownRun, RunFinished.
    """
    run = get(conn, run_id)
    if run.is_finished:
        raise RunFinished(
            f"run {run_id} is already {run.state}; only an unfinished run can be cancelled"
        )
    is_waiting = (runs.c.id == run_id) & (runs.c.state == "waiting")
    reason = "cancelled on request"
    if not end(conn, is_waiting, "cancelled", now, reason=reason, is_cancel_requested=True):
        conn.execute(
            update(runs)
            .where(runs.c.id == run_id, runs.c.state == "running")
            .values(is_cancel_requested=True)
        )
    audit.record(conn, by, "run.cancelled", f"run {run_id}", now, was=run.state)
    return get(conn, run_id)


def get(conn: Connection, run_id: str) -> Run:
    """Raises UnknownRun."""
    run = _one(conn, runs.c.id == run_id) if may_be_id(run_id) else None
    if run is None:
        raise UnknownRun(f"run {run_id[:40]!r} does not exist; /v1/runs lists them")
    return run


def unfinished(conn: Connection) -> Sequence[Run]:
    rows = conn.execute(select(runs).where(runs.c.state.in_(UNFINISHED)))
    return [Run(*row) for row in rows]


def listing(conn: Connection, limit: int) -> list[Run]:
    """Newest first."""
    rows = conn.execute(select(runs).order_by(runs.c.created_at.desc()).limit(limit))
    return [Run(*row) for row in rows]


def newest_snapshot(conn: Connection) -> int:
    """The newest label event that a finished run has trained on; later ones are new."""
    snapshot: int = conn.execute(
        select(func.coalesce(func.max(runs.c.snapshot), 0)).where(runs.c.state == "finished")
    ).scalar_one()
    return snapshot


def last_of(
    conn: Connection, tiers: Sequence[str] = (*QUICK, *LONG), *, until: float = math.inf
) -> Run | None:
    """The run that ended last, of those that ended before `until`."""
    newest = select(runs).where(runs.c.finished_at < min(until, _END_OF_TIME))
    newest = newest.order_by(runs.c.finished_at.desc()).limit(1)
    # One tier at a time: the newest run of a rare tier may be behind all runs of the others.
    found = [conn.execute(newest.where(runs.c.tier == tier)).one_or_none() for tier in tiers]
    ended = [Run(*row) for row in found if row is not None]
    return max(ended, key=lambda run: run.finished_at or 0.0, default=None)


def lock(conn: Connection) -> None:
    """Let one transaction at a time request or claim runs; two could deadlock.

    SQLite has one writer anyway.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MOVE_LOCK})


def end(
    conn: Connection, condition: ColumnElement[bool], state: str, now: float, **values: Any
) -> bool:
    """End the run that meets the condition, and count it. False if there is none."""
    ended = conn.execute(
        update(runs)
        .where(condition)
        .values(state=state, step=state, finished_at=now, **values)
        .returning(runs.c.outcome, runs.c.started_at)
    ).one_or_none()
    if ended is None:
        return False
    outcome, started_at = ended
    seconds = 0.0 if started_at is None else now - started_at
    run_tallies.count(conn, outcome or state, seconds)
    return True


def in_state(conn: Connection, state: str, tier: str) -> Run | None:
    return _one(conn, (runs.c.state == state) & (runs.c.tier == tier))


def _set_wanted(conn: Connection, run: Run, wanted: dict[str, Any]) -> None:
    parameters = run.parameters | {"wanted": wanted}
    conn.execute(update(runs).where(runs.c.id == run.id).values(parameters=parameters))


def _one(conn: Connection, condition: Any) -> Run | None:
    row = conn.execute(select(runs).where(condition)).one_or_none()
    return None if row is None else Run(*row)
