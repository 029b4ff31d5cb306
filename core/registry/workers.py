"""Workers: the processes that serve or train, and what each has loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from core.store.schema import workers
from core.system.host import pid_space

# How often a worker sends a heartbeat, and how long after the last one it counts as dead.
HEARTBEAT_S = 1.0
DEAD_AFTER_S = 6.0
_FORGET_AFTER_S = 3600.0

Role = Literal["serving", "trainer"]

# Built once: building a statement takes longer than running it.
_REPORT = update(workers).where(workers.c.id == bindparam("worker_id"))
_BEAT = update(workers).where(workers.c.id == bindparam("worker_id"))
_LIVE = (
    select(workers)
    .where(
        workers.c.role == bindparam("role"),
        workers.c.last_seen > bindparam("since"),
        # Later ones are from before the database's clock was set back.
        workers.c.last_seen < bindparam("until"),
    )
    .order_by(workers.c.started_at)
)


@dataclass(frozen=True, slots=True)
class Worker:
    id: str
    role: str
    host: str
    pid: int
    provider: str
    # The version that serves.
    version: int | None
    # Versions that are loaded and warmed up.
    ready: tuple[int, ...]
    # Promotions whose version could not be loaded, and why.
    failed: dict[int, str] = field(default_factory=dict)
    started_at: float = 0.0
    last_seen: float = 0.0
    # Where its pid counts; None: an older release wrote the row.
    pid_space: str | None = None


def report(conn: Connection, worker: Worker) -> None:
    """Update the worker's row, or insert it."""
    values = {
        "role": worker.role,
        "host": worker.host,
        "pid": worker.pid,
        "provider": worker.provider,
        "version": worker.version,
        "ready": list(worker.ready),
        "failed": {str(number): why for number, why in worker.failed.items()},
        "started_at": worker.started_at,
        "last_seen": worker.last_seen,
        "pid_space": worker.pid_space,
    }
    result = conn.execute(_REPORT, {"worker_id": worker.id, **values})
    if result.rowcount == 0:
        conn.execute(insert(workers).values(id=worker.id, **values))


def beat(conn: Connection, worker_id: str, now: float) -> bool:
    """Renew the heartbeat of a worker whose report is still true. False if its row is gone."""
    return conn.execute(_BEAT, {"worker_id": worker_id, "last_seen": now}).rowcount == 1


def leave(conn: Connection, worker_id: str) -> None:
    conn.execute(delete(workers).where(workers.c.id == worker_id))


def live(conn: Connection, now: float, role: Role) -> list[Worker]:
    """Workers with a recent heartbeat, without processes that are known to have ended: their pids
    count here."""
    times = {"since": now - DEAD_AFTER_S, "until": now + DEAD_AFTER_S}
    rows = conn.execute(_LIVE, {"role": role, **times})
    recent = [_from_row(row) for row in rows]
    return [w for w in recent if w.pid_space != pid_space() or _is_running(w.pid)]


def last_seen(conn: Connection, role: Role) -> float | None:
    """When the last worker of the role sent a heartbeat; None: none is remembered."""
    query = select(func.max(workers.c.last_seen)).where(workers.c.role == role)
    seen: float | None = conn.execute(query).scalar()
    return seen


def forget_dead(conn: Connection, now: float) -> None:
    is_recent = workers.c.last_seen.between(now - _FORGET_AFTER_S, now + _FORGET_AFTER_S)
    conn.execute(delete(workers).where(~is_recent))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """It has ended, and its parent has not reaped it yet: BentoML does so every five seconds."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # there is no /proc on macOS
        return False
    return stat.rpartition(b") ")[2].startswith(b"Z")


def _from_row(row: Any) -> Worker:
    fields = dict(row._mapping)
    fields["ready"] = tuple(fields["ready"])
    fields["failed"] = {int(number): why for number, why in fields["failed"].items()}
    return Worker(**fields)
