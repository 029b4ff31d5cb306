"""Lost blobs: those that a row names, and that were found missing or damaged.

Whoever finds one records it. Whoever stores it again, or reads it whole, clears it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import BlobMissing, ChecksumMismatch
from core.store.schema import lost_blobs

# What is wrong with one blob, and not with the store.
LOST = (BlobMissing, ChecksumMismatch)
# Below SQLite's limit on the parameters of a statement.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class LostBlob:
    digest: str
    # missing or damaged.
    problem: str
    found_at: float


def problem_of(error: Exception) -> str | None:
    """How a blob is lost, by the error of reading it. None: it is not."""
    if isinstance(error, BlobMissing):
        return "missing"
    return "damaged" if isinstance(error, ChecksumMismatch) else None


def record(conn: Connection, problems: Mapping[str, str], now: float) -> None:
    """Record lost blobs, by digest. Those that are recorded keep the time at which they were."""
    if problems:
        dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
        rows = [{"digest": k, "problem": v, "found_at": now} for k, v in problems.items()]
        conn.execute(dialect.insert(lost_blobs).on_conflict_do_nothing(), rows)


def clear(conn: Connection, digests: Collection[str]) -> None:
    """They are there, and whole."""
    listed = list(digests)
    for start in range(0, len(listed), _CHUNK):
        part = listed[start : start + _CHUNK]
        conn.execute(delete(lost_blobs).where(lost_blobs.c.digest.in_(part)))


def read(conn: Connection) -> dict[str, LostBlob]:
    """All of them, by digest: none in a store that is well."""
    return {row.digest: LostBlob(*row) for row in conn.execute(select(lost_blobs))}
