"""Rows that the tests of the database write."""

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
    "embedding": None,
}

VERSION = {
    "backbone": "b",
    "head": "h",
    "manifest": "m",
    "classes": ["cat"],
    "snapshot": 0,
    "metrics": {},
    "gate": {},
    "created_at": 0.0,
}

EXAMPLE = {
    "id": 1,
    "image": "a" * 64,
    "num_bytes": 1,
    "width": 1,
    "height": 1,
    "source": "test",
    "is_held_out": False,
    "group_id": "a" * 64,
    "thumb": b"",
    **{f"band_{i}": 0 for i in range(4)},
    "created_at": 0.0,
}

RUN = {
    "trigger": "request",
    "tier": "head",
    "parameters": {},
    "step": "",
    "progress": 1.0,
    "attempts": 1,
    "is_cancel_requested": False,
    "created_at": 0.0,
}


def num_predictions(db: Database) -> int:
    with db.read() as conn:
        return conn.execute(select(func.count()).select_from(schema.predictions)).scalar_one()


def insert_predictions(db: Database, *names: str) -> None:
    db.insert_rows(schema.predictions, [(name, *PREDICTION.values()) for name in names])
