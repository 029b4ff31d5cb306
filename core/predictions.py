"""Predictions: what was answered, for which image, by which version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import uuid_utils
from sqlalchemy import Connection, insert, select

from core.schema import predictions

_INSERT = insert(predictions)


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


_FIELDS = tuple(field.name for field in fields(Prediction))


def new_id() -> str:
    """A UUIDv7: sorts by time, so that rows arrive at the end of the index."""
    return str(uuid_utils.uuid7())


def may_be_id(text: str) -> bool:
    """False for what no id looks like, and a database may refuse to compare with."""
    return len(text) <= 36 and text.isascii() and text.isprintable()


def add(conn: Connection, rows: Sequence[Prediction]) -> None:
    # Not `asdict`, which copies deeply: this is on the way of every prediction.
    conn.execute(_INSERT, [{name: getattr(row, name) for name in _FIELDS} for row in rows])


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
