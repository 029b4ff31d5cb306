"""Empty SQLite's write-ahead log, so that no byte of what was deleted stays in it.

The database file holds none either: each connection overwrites with zeros what it deletes
(`drivers/sqlite.py`). PostgreSQL keeps old rows until it vacuums, and its log until it is recycled.
"""

from __future__ import annotations

import time

from core.store.database import Database

_RETRY_EVERY_S = 0.02


def empty_wal(db: Database, patience_s: float) -> bool:
    """Move the log into the database file, and cut it to length 0. False if somebody was reading an
    older state for so long. No lock is held meanwhile."""
    deadline = time.monotonic() + patience_s
    while db.is_sqlite and not _truncate(db):
        if time.monotonic() > deadline:
            return False
        time.sleep(_RETRY_EVERY_S)
    return True


def _truncate(db: Database) -> bool:
    with db.execute_once() as conn:
        before = conn.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        # While it waited for readers, it would hold the lock of writers.
        conn.exec_driver_sql("PRAGMA busy_timeout = 0").close()
        try:
            row = conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        finally:
            conn.exec_driver_sql(f"PRAGMA busy_timeout = {int(before)}").close()
    return bool(row[0] == 0)
