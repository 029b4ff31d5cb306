"""Rows of the table `predictions`, which the tests of the database write."""

from __future__ import annotations

from sqlalchemy import func, select

from core.store import schema
from core.store.database import Database

PREDICTION = {
    "image": "a" * 64,
    "version": 1,
    "label": "cat",
    "confidence": 0.9,
    "margin": 0.8,
    "created_at": 0.0,
    "unfamiliar": None,
    "kept_bytes": None,
    "capture": None,
}


def num_predictions(db: Database) -> int:
    with db.read() as conn:
        return conn.execute(select(func.count()).select_from(schema.predictions)).scalar_one()


def insert_predictions(db: Database, *names: str) -> None:
    db.insert_rows(schema.predictions, [(name, *PREDICTION.values()) for name in names])
