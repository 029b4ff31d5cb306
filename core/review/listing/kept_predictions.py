"""Predictions whose images are still kept and have no label yet, newest first."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import NamedTuple

from sqlalchemy import Connection, and_, or_, select

from core import class_names
from core.predictions import Prediction
from core.review.listing import cursors, pages
from core.store.schema import examples, predictions

# The embedding is large, and nobody reads it here.
_COLUMNS = [column for column in predictions.c if column.name != "embedding"]


@dataclass(frozen=True, slots=True)
class PredictionFilter:
    """None: all of them."""

    # In any spelling.
    label: str | None = None
    version: int | None = None
    unfamiliar: bool | None = None
    # When it was made, both inclusive.
    since: float | None = None
    until: float | None = None


class PredictionPage(NamedTuple):
    predictions: list[Prediction]
    # None: there are no more.
    next_after: str | None


def list_predictions(
    conn: Connection, wanted: PredictionFilter, *, limit: int = 100, after: str | None = None
) -> PredictionPage:
    """Return the next predictions that match. Like a page of examples, it reads a bounded number
    of rows, and may have fewer than `limit`. Raises InvalidRequest, InvalidLabel."""
    query = repr(astuple(wanted))
    place = None if after is None else cursors.decode_text(query, after)
    if wanted.label is not None:
        class_names.normalise(wanted.label)
    shown, last = pages.fill(
        lambda after, size: _next(conn, wanted, after, size),
        lambda prediction: (prediction.created_at, prediction.id),
        lambda window: [
            (each, each) for each in _unlabelled(conn, window) if _matches(each, wanted)
        ],
        place,
        limit,
    )
    return PredictionPage(shown, None if last is None else cursors.encode(query, last))


def _next(
    conn: Connection, wanted: PredictionFilter, place: tuple[float, str] | None, size: int
) -> list[Prediction]:
    at = predictions.c.created_at
    query = select(*_COLUMNS).where(predictions.c.kept_bytes.is_not(None))
    if wanted.since is not None:
        query = query.where(at >= wanted.since)
    if wanted.until is not None:
        query = query.where(at <= wanted.until)
    if place is not None:
        is_next = or_(at < place[0], and_(at == place[0], predictions.c.id < place[1]))
        # The first condition is implied. It lets the database start within its index.
        query = query.where(at <= place[0], is_next)
    rows = conn.execute(query.order_by(at.desc(), predictions.c.id.desc()).limit(size))
    return [Prediction(**row._mapping) for row in rows]


def _unlabelled(conn: Connection, window: list[Prediction]) -> list[Prediction]:
    """A label makes the image an example, and its prediction is swept some time later."""
    images = {each.image for each in window}
    labelled = set(conn.scalars(select(examples.c.image).where(examples.c.image.in_(images))))
    return [each for each in window if each.image not in labelled]


def _matches(prediction: Prediction, wanted: PredictionFilter) -> bool:
    return (
        (wanted.label is None or class_names.is_same(prediction.label, wanted.label))
        and wanted.version in (None, prediction.version)
        and wanted.unfamiliar in (None, prediction.unfamiliar)
    )
