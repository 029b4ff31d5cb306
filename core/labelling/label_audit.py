"""What the audit says of labels: which ids, of which examples. Never which labels."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.labelling.labels import LabelEvent


def record_given(conn: Connection, by: Actor, event: LabelEvent, now: float) -> None:
    detail = {"example": event.example_id, "prediction": event.prediction_id}
    audit.record(conn, by, "label.given", f"label {event.id}", now, **detail)


def record_imported(conn: Connection, by: Actor, events: Sequence[LabelEvent], now: float) -> None:
    """One event for all labels of a transaction, which may be none."""
    if events:
        subject = f"labels {events[0].id} to {events[-1].id}"
        audit.record(conn, by, "labels.imported", subject, now, count=len(events))


def record_retracted(conn: Connection, by: Actor, retraction: LabelEvent, now: float) -> None:
    detail = {"example": retraction.example_id, "retraction": retraction.id}
    audit.record(conn, by, "label.retracted", f"label {retraction.retracts}", now, **detail)


def record_batch(
    conn: Connection, by: Actor, batch_id: int, event_ids: Sequence[int], now: float
) -> None:
    """One event for all labels of a batch."""
    detail = {"first": event_ids[0], "last": event_ids[-1], "count": len(event_ids)}
    audit.record(conn, by, "labels.given", f"batch {batch_id}", now, **detail)
