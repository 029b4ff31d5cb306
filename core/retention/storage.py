"""What takes how much room. Whoever sweeps measures it and stores it, by day, so that a request
reads a few rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select, text

from core.errors import BlobMissing
from core.retention import caches, doomed, images
from core.retention.images import DAY_S
from core.retention.versions import Files
from core.review import analyses
from core.store.schema import examples
from core.store.store import Store
from core.store.tables.retention import storage_use

_GROWTH_DAYS = 7


@dataclass(frozen=True, slots=True)
class Use:
    kind: str
    num_bytes: int
    num_items: int


@dataclass(frozen=True, slots=True)
class Storage:
    uses: tuple[Use, ...] = ()
    # None: it was not measured yet.
    measured_at: float | None = None
    # In bytes, over the last days. None: unknown before a day has passed.
    growth_per_day: float | None = None

    def days_until_full(self, free_bytes: int | None) -> float | None:
        """None: unknown, or it does not grow."""
        if free_bytes is None or self.growth_per_day is None or self.growth_per_day <= 0:
            return None
        return free_bytes / self.growth_per_day


def measure(store: Store, files: Files, cache: Path | None) -> list[Use]:
    """Count all of it, which reads many rows. Raises StoreError."""
    kept = files.load()
    with store.db.read() as conn:
        num_images, image_bytes = images.total(conn)
        num_doomed, doomed_bytes = doomed.total(conn)
        size = func.coalesce(func.sum(examples.c.num_bytes), 0)
        num_examples, example_bytes = conn.execute(select(func.count(), size)).one()
        analysed = analyses.listing(conn)
        database = _database_bytes(conn)
    digests: set[str] = set().union(*(files.of(version) for version in kept))
    return [
        Use("labelled-images", int(example_bytes), num_examples),
        Use("other-images", image_bytes, num_images),
        Use("versions", sum(_size(store, digest) for digest in digests), len(kept)),
        Use("analyses", sum(row.num_bytes for row in analysed), len(analysed)),
        Use("to-delete", doomed_bytes, num_doomed),
        Use("database", database, 1),
        Use("cache", caches.size(cache) if cache is not None else 0, 1),
    ]


def record(conn: Connection, uses: list[Use], now: float) -> None:
    """Store what was measured as that of the day, and forget the days that growth needs no more."""
    today = int(now // DAY_S)
    day = storage_use.c.day
    conn.execute(delete(storage_use).where(~day.between(today - _GROWTH_DAYS, today - 1)))
    conn.execute(
        insert(storage_use),
        [
            {
                "day": today,
                "kind": use.kind,
                "num_bytes": use.num_bytes,
                "num_items": use.num_items,
                "measured_at": now,
            }
            for use in uses
        ],
    )


def read(conn: Connection) -> Storage:
    rows = conn.execute(select(storage_use).order_by(storage_use.c.day)).all()
    if not rows:
        return Storage()
    first, last = ([row for row in rows if row.day == rows[i].day] for i in (0, -1))
    seconds = last[0].measured_at - first[0].measured_at
    grown = sum(row.num_bytes for row in last) - sum(row.num_bytes for row in first)
    return Storage(
        tuple(Use(row.kind, row.num_bytes, row.num_items) for row in last),
        last[0].measured_at,
        grown * DAY_S / seconds if seconds >= DAY_S else None,
    )


def _size(store: Store, digest: str) -> int:
    try:
        return store.blobs.size(digest)
    except BlobMissing:
        return 0


def _database_bytes(conn: Connection) -> int:
    if conn.dialect.name == "postgresql":
        query = "SELECT pg_database_size(current_database())"
    else:
        query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    return int(conn.execute(text(query)).scalar_one())
