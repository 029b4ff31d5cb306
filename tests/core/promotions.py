"""Workers, requests for a promotion, and the outcomes, each in a transaction of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from core.registry import activations, promotions, workers
from core.registry.promotions import Activation, Promotion
from core.registry.workers import Worker
from core.store.database import Database

NOW = 1_700_000_000.0
_ids = itertools.count(1)


def worker(
    ready: Sequence[int] = (),
    failed: dict[int, str] | None = None,
    *,
    host: str = "elsewhere",
    pid: int = 1,
    pid_space: str | None = None,
    last_seen: float = NOW,
) -> Worker:
    return Worker(
        id=f"worker-{next(_ids)}",
        role="serving",
        host=host,
        pid=pid,
        provider="CPUExecutionProvider",
        version=1,
        ready=tuple(ready),
        failed=failed or {},
        started_at=NOW - 60,
        last_seen=last_seen,
        pid_space=pid_space,
    )


def report_workers(db: Database, *serving: Worker) -> None:
    with db.write() as conn:
        for each in serving:
            workers.report(conn, each)


def request(db: Database, version: int, now: float = NOW, expected: int | None = None) -> Promotion:
    with db.write() as conn:
        return promotions.request(
            conn, version, who="ann", why="better", now=now, expected_activation=expected
        )


def advance(db: Database, now: float = NOW) -> Activation | None:
    with db.write() as conn:
        return promotions.advance(conn, now)


def state_of(db: Database, promotion: Promotion) -> str:
    with db.read() as conn:
        return promotions.promotion(conn, promotion.id).state


def activated_versions(db: Database) -> list[int]:
    """The versions, oldest first."""
    with db.read() as conn:
        return [each.version for each in reversed(activations.history(conn, 100))]
