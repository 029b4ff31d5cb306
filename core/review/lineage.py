"""Lineage: from a prediction to the labels behind it, and from an example to what learned from it.

A version learned from an example if the example had a label at the version's snapshot. An example
that is held out did not train the version; it judged it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, select

from core import erased
from core.errors import UnknownExample, UnknownPrediction
from core.labelling import labels
from core.labelling.labels import LabelEvent
from core.predictions import Prediction
from core.predictions import get as get_prediction
from core.registry import versions
from core.registry.versions import Version
from core.store import schema

MAX_EVENTS = 1_000
# PostgreSQL refuses to compare with more.
_MAX_ID, _MAX_NUMBER = 2**63 - 1, 2**31 - 1


@dataclass(frozen=True, slots=True)
class ExampleRecord:
    id: int
    image: str
    num_bytes: int
    width: int
    height: int
    source: str
    is_held_out: bool
    group_id: str
    created_at: float


@dataclass(frozen=True, slots=True)
class PredictionOrigin:
    prediction: Prediction
    version: Version
    # None: its image was never labelled.
    example_id: int | None
    # Of its image, oldest first.
    events: list[LabelEvent]


@dataclass(frozen=True, slots=True)
class Sight:
    """A version that saw an example, and the label that the example had then."""

    version: int
    label: str


def origin_of(conn: Connection, prediction_id: str) -> PredictionOrigin:
    """Raises UnknownPrediction."""
    prediction = get_prediction(conn, prediction_id)
    if prediction is None:
        raise UnknownPrediction(f"prediction {prediction_id[:40]!r} does not exist")
    columns = schema.examples.c
    query = select(columns.id).where(columns.image == prediction.image)
    example_id = conn.execute(query).scalar()
    events = [] if example_id is None else events_of(conn, example_id)
    return PredictionOrigin(prediction, versions.get(conn, prediction.version), example_id, events)


def example(conn: Connection, example_id: int) -> ExampleRecord:
    """Raises UnknownExample."""
    names = ExampleRecord.__dataclass_fields__
    query = select(*(schema.examples.c[name] for name in names))
    row = None
    if 0 < example_id <= _MAX_ID:
        row = conn.execute(query.where(schema.examples.c.id == example_id)).one_or_none()
    if row is None:
        raise UnknownExample(f"example {example_id} does not exist")
    if erased.is_erased(row.image):
        raise UnknownExample(
            f"example {example_id} was erased; DELETE /v1/examples/{example_id} answers its receipt"
        )
    return ExampleRecord(*row)


def events_of(conn: Connection, example_id: int) -> list[LabelEvent]:
    """The label events of an example, oldest first; of more than 1,000 the newest."""
    return labels.events_of(conn, example_id, MAX_EVENTS)


def sights_of(
    conn: Connection, example_id: int, *, limit: int, before: int | None = None
) -> list[Sight]:
    """The versions that saw the example, newest first; with `before`, only lower numbers."""
    versions_, given, retraction = schema.versions.c, schema.labels.alias(), schema.labels.alias()
    was_retracted = (
        exists()
        .where(retraction.c.retracts == given.c.id, retraction.c.id <= versions_.snapshot)
        .correlate(given, schema.versions)
    )
    had_a_label = (
        exists()
        .where(
            given.c.example_id == example_id,
            given.c.label.is_not(None),
            given.c.id <= versions_.snapshot,
            ~was_retracted,
        )
        .correlate(schema.versions)
    )
    query = (
        select(versions_.number, versions_.snapshot)
        .where(had_a_label)
        .order_by(versions_.number.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(versions_.number < min(max(before, 0), _MAX_NUMBER))
    events = events_of(conn, example_id)
    return [
        Sight(number, label)
        for number, snapshot in conn.execute(query)
        if (label := label_at(events, snapshot)) is not None
    ]


def label_at(events: Sequence[LabelEvent], snapshot: int) -> str | None:
    """The label of an example as of a snapshot, from its events; None if it had none."""
    seen = [event for event in events if event.id <= snapshot]
    retracted = {event.retracts for event in seen}
    given = [event for event in seen if event.label is not None and event.id not in retracted]
    return given[-1].label if given else None
