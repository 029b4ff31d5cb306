"""Predictions: what was answered, for which image, by which version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import uuid_utils
from sqlalchemy import Connection, select

from core.store.database import Database
from core.store.schema import predictions


@dataclass(frozen=True, slots=True)
class Prediction:
    id: str
    image: str
    version: int
    label: str
    confidence: float
    # How far the first class is ahead of the second: small means unsure.
    margin: float
    created_at: float


_row = attrgetter(*(column.name for column in predictions.columns))


def new_id() -> str:
    """A UUIDv7: sorts by time, so that rows arrive at the end of the index."""
    return str(uuid_utils.uuid7())


def may_be_id(text: str) -> bool:
    """False for what no id looks like, and a database may refuse to compare with."""
    return len(text) <= 36 and text.isascii() and text.isprintable()


def add(db: Database, group: Sequence[Prediction]) -> None:
    """In one transaction, not durable. Raises StoreError."""
    db.append(predictions, [_row(prediction) for prediction in group])


def get(conn: Connection, prediction_id: str) -> Prediction | None:
    if not may_be_id(prediction_id):
        return None
    row = conn.execute(
        select(
            predictions.c.id,
            predictions.c.image,
            predictions.c.version,
            predictions.c.label,
            predictions.c.confidence,
            predictions.c.margin,
            predictions.c.created_at,
        ).where(predictions.c.id == prediction_id)
    ).one_or_none()
    return None if row is None else Prediction(*row)
