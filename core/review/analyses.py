"""The stored analyses: a row each, which names the blob, and the one that is read of late.

They may be deleted at any time. Without one, everything works that does not show it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, literal, select

from core.errors import BlobMissing, ChecksumMismatch, SpecMismatch
from core.labelling import labels
from core.review.analysis import Analysis
from core.store.database import Database
from core.store.store import Store
from core.store.tables.retention import erasures
from core.store.tables.review import analyses

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    # That scored the held-out examples, and whose backbone and references all of it is by.
    version: int
    digest: str
    num_bytes: int
    # The newest label event among the examples.
    snapshot: int
    # Such as the learning curve, as JSON.
    summary: Mapping[str, Any]
    created_at: float


def newest(conn: Connection) -> AnalysisRow | None:
    row = conn.execute(select(analyses).order_by(analyses.c.version.desc()).limit(1)).first()
    return None if row is None else AnalysisRow(**row._mapping)


def of_version(conn: Connection, number: int) -> AnalysisRow | None:
    row = conn.execute(select(analyses).where(analyses.c.version == number)).first()
    return None if row is None else AnalysisRow(**row._mapping)


def listing(conn: Connection, *, snapshot_from: int = 0) -> list[AnalysisRow]:
    """Newest first; those of older snapshots are left out. There are a few."""
    query = select(analyses).where(analyses.c.snapshot >= snapshot_from)
    rows = conn.execute(query.order_by(analyses.c.version.desc()))
    return [AnalysisRow(**row._mapping) for row in rows]


def add(conn: Connection, row: AnalysisRow) -> None:
    """Store the row, in place of an earlier one of the same version."""
    conn.execute(delete(analyses).where(analyses.c.version == row.version))
    conn.execute(insert(analyses).values(asdict(row)))


def add_unless_erased(db: Database, row: AnalysisRow, last_erasure: int) -> bool:
    """Store the row, if its version has none and nothing was erased after that erasure, since when
    the labels were read. Returns whether it did.

    It is one statement, not durable: a process of low priority would hold SQLite's lock for long in
    a transaction of several.
    """
    columns = list(analyses.c)
    values = [literal(getattr(row, c.name), c.type) for c in columns]
    has_one = exists().where(analyses.c.version == row.version)
    is_late = exists().where(erasures.c.id > last_erasure)
    statement = insert(analyses).from_select(columns, select(*values).where(~has_one, ~is_late))
    statement = statement.execution_options(preserve_rowcount=True)
    if db.is_sqlite:
        with db.execute_once() as conn:
            return conn.execute(statement).rowcount == 1
    with db.write() as conn:
        labels.lock_order(conn)  # an erasure is before, or deletes this row
        return conn.execute(statement).rowcount == 1


def remove(conn: Connection, rows: Collection[AnalysisRow]) -> None:
    """Delete the rows. The caller dooms the files."""
    conn.execute(delete(analyses).where(analyses.c.version.in_([row.version for row in rows])))


class AnalysisCache:
    """The newest analysis, read once for each digest. Threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._held: tuple[str, Analysis] | None = None
        self._unreadable = ""

    def get(self) -> tuple[AnalysisRow, Analysis] | None:
        """None if there is none, or if its file cannot be read. Raises StoreError."""
        with self._store.db.read() as conn:
            row = newest(conn)
        # One thread reads the file, and the others wait for it.
        with self._lock:
            if row is None:
                self._held = None
                return None
            if self._held is None or self._held[0] != row.digest:
                self._held = None
                analysis = self._read(row)
                if analysis is None:
                    return None
                self._held = row.digest, analysis
            return row, self._held[1]

    def _read(self, row: AnalysisRow) -> Analysis | None:
        try:
            return Analysis.from_bytes(self._store.blobs.get(row.digest))
        except (BlobMissing, ChecksumMismatch, SpecMismatch) as error:
            if self._unreadable != row.digest:
                extra = {"version": row.version, "error": str(error)}
                log.warning("analysis.unreadable", extra=extra)
            self._unreadable = row.digest
            return None
