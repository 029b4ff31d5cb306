"""The table of what a home is."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table

from core.store.tables.metadata import metadata

# One row (`core/store/home_kind.py`).
home = Table(
    "home",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # The kind of input, as EVERGREEN_INPUT names it.
    Column("input", String(20), nullable=False),
)
