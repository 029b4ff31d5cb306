"""The table of access: the keys of clients."""

from __future__ import annotations

from sqlalchemy import Column, Float, String, Table

from core.store.tables.metadata import metadata

# Rows are never deleted, and a revocation is never taken back (`core/access/key_ring.py`).
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(12), primary_key=True),
    # sha256 of the whole key.
    Column("digest", String(64), nullable=False),
    Column("name", String(100), nullable=False, index=True),
    Column("role", String(20), nullable=False),
    Column("request_quota", String(60)),
    Column("byte_quota", String(60)),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("last_used_at", Float),
    Column("revoked_at", Float),
)
