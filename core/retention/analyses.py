"""Old analyses: all but the newest few go, and all that saw what is erased."""

from __future__ import annotations

from sqlalchemy import Connection

from core.retention import doomed
from core.review import analyses
from core.store.store import Store

KEPT = 5


def delete_old(store: Store) -> int:
    """Delete all but the newest, and doom their files. Returns how many."""
    with store.db.read() as conn:
        if len(analyses.listing(conn)) <= KEPT:
            return 0
    with store.db.write() as conn:
        return _delete(conn, analyses.listing(conn)[KEPT:])


def count_old(conn: Connection) -> tuple[int, int]:
    """How many `delete_old` would delete, and their bytes."""
    old = analyses.listing(conn)[KEPT:]
    return len(old), sum(row.num_bytes for row in old)


def delete_since(conn: Connection, event: int) -> int:
    """Delete those whose snapshot has the label event, and doom their files. Returns how many."""
    return _delete(conn, analyses.listing(conn, snapshot_from=event))


def _delete(conn: Connection, rows: list[analyses.AnalysisRow]) -> int:
    analyses.remove(conn, rows)
    doomed.doom(conn, doomed.ANALYSIS, {row.digest: row.num_bytes for row in rows})
    return len(rows)
