"""Workers: the processes that serve or train, and what each has loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from core.store.schema import workers
from core.system.host import this_host

# A worker says that it lives at least this often, and is taken for dead after the second.
HEARTBEAT_S = 1.0
DEAD_AFTER_S = 6.0
_FORGET_AFTER_S = 3600.0

Role = Literal["serving", "trainer"]

# Made once: making a statement takes longer than running it.
_REPORT = update(workers).where(workers.c.id == bindparam("of"))
_LIVE = (
    select(workers)
    .where(workers.c.role == bindparam("role"), workers.c.last_seen > bindparam("since"))
    .order_by(workers.c.started_at)
)


@dataclass(frozen=True, slots=True)
class Worker:
    id: str
    role: str
    host: str
    pid: int
    provider: str
    # The version that it answers with.
    version: int | None
    # Versions that it has loaded and warmed up.
    ready: tuple[int, ...]
    # Promotions whose version it could not load, and why.
    failed: dict[int, str] = field(default_factory=dict)
    started_at: float = 0.0
    last_seen: float = 0.0


def report(conn: Connection, worker: Worker) -> None:
    """Write the worker's row, or write it anew if it was cleared away."""
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
    }
    result = conn.execute(_REPORT, {"of": worker.id, **values})
    if result.rowcount == 0:
        conn.execute(insert(workers).values(id=worker.id, **values))


def leave(conn: Connection, worker_id: str) -> None:
    conn.execute(delete(workers).where(workers.c.id == worker_id))


def live(conn: Connection, now: float, role: Role) -> list[Worker]:
    """Those heard of lately. A process of this machine that is gone is seen at once."""
    rows = conn.execute(_LIVE, {"role": role, "since": now - DEAD_AFTER_S})
    found = [_worker(row) for row in rows]
    return [w for w in found if w.host != this_host() or _is_running(w.pid)]


def forget_dead(conn: Connection, now: float) -> None:
    conn.execute(delete(workers).where(workers.c.last_seen < now - _FORGET_AFTER_S))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """It has ended, and its parent has not looked yet: BentoML looks every five seconds."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # there is no /proc on macOS
        return False
    return stat.rpartition(b") ")[2].startswith(b"Z")


def _worker(row: Any) -> Worker:
    fields = dict(row._mapping)
    fields["ready"] = tuple(fields["ready"])
    fields["failed"] = {int(number): why for number, why in fields["failed"].items()}
    return Worker(**fields)


def with_version(live_workers: Sequence[Worker], version: int) -> int:
    """How many of them answer with this version."""
    return sum(1 for worker in live_workers if worker.version == version)
