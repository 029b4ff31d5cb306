"""The tables of what is kept: blobs to delete, what takes how much room, and who sweeps."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table

from core.store.metadata import metadata

# Blobs that a row named until the transaction that added them here (`core/retention/doomed.py`).
doomed_blobs = Table(
    "doomed_blobs",
    metadata,
    Column("digest", String(64), primary_key=True),
    # `image`, or `file` of a version.
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
