"""The table of the clock."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, Table

from core.store.tables.metadata import metadata

# SQLite only: the time at tick 0 of the machine, in one row (`core/store/clock.py`).
clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Float, nullable=False),
)
