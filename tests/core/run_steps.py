"""The steps of a run, each in a transaction of its own, at a time that the test chooses."""

from __future__ import annotations

from sqlalchemy import func, select

from core import leases, runs
from core.leases import LEASE_S
from core.runs import Run
from core.store.database import Database
from core.store.schema import runs as table

NOW = 1_700_000_000.0
LATE = NOW + LEASE_S + 1


def request(db: Database, now: float = NOW) -> Run:
    with db.write() as conn:
        return runs.request(conn, trigger="request", now=now)[0]


def claim(db: Database, owner: str = "a", now: float = NOW) -> Run | None:
    with db.write() as conn:
        return leases.claim(conn, owner, now)


def start(db: Database, owner: str = "a", now: float = NOW) -> Run:
    request(db, now)
    run = claim(db, owner, now)
    assert run is not None
    return run


def get(db: Database, run_id: str) -> Run:
    with db.read() as conn:
        return runs.get(conn, run_id)


def finish(
    db: Database, run_id: str, owner: str = "a", state: str = "finished", **how: object
) -> bool:
    with db.write() as conn:
        return leases.finish(conn, run_id, owner, state=state, now=NOW + 5, **how)  # type: ignore[arg-type]


def num_in_state(db: Database, state: str) -> int:
    with db.read() as conn:
        query = select(func.count()).select_from(table).where(table.c.state == state)
        return conn.execute(query).scalar_one()
