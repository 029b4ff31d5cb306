"""The tables of what is kept: blobs to delete, what takes how much room, and who sweeps."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table

from core.store.tables.metadata import metadata, row_id

# Blobs that a row named until the transaction that added them here (`core/retention/doomed.py`).
doomed_blobs = Table(
    "doomed_blobs",
    metadata,
    Column("digest", String(64), primary_key=True),
    # `image`, `file` of a version, or `analysis`.
    Column("kind", String(20), nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    # Null: not yet. Kept for an hour, so that a label of the same image knows of it.
    Column("deleted_at", Float),
)
Index(
    "ix_doomed_blobs_kind",
    doomed_blobs.c.kind,
    sqlite_where=doomed_blobs.c.deleted_at.is_(None),
    postgresql_where=doomed_blobs.c.deleted_at.is_(None),
)

# What each kind took, by day: counting all rows at each request would take seconds.
storage_use = Table(
    "storage_use",
    metadata,
    # Days since the epoch, UTC.
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(20), primary_key=True),
    Column("num_bytes", BigInteger, nullable=False),
    Column("num_items", BigInteger, nullable=False),
    Column("measured_at", Float, nullable=False),
)

# One row: one process sweeps at a time.
sweep_lease = Table(
    "sweep_lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(36), nullable=False),
    Column("expires_at", Float, nullable=False),
)

# What was erased (`core/erased.py`). Rows are never deleted: they say what no row may bring back.
erasures = Table(
    "erasures",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("image", String(64), nullable=False, index=True),
    Column("example_id", row_id, unique=True),
    Column("prediction_id", String(36), unique=True),
    Column("first_event", row_id),
    Column("last_event", row_id),
    Column("created_at", Float, nullable=False, index=True),
    Column("finished_at", Float),
    Column("receipt", JSON, nullable=False),
)

# Versions that saw an example which was erased since.
erased_versions = Table(
    "erased_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("erased_at", Float, nullable=False),
)
