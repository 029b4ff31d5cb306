"""Predict and label at chosen times, and sweep."""

from __future__ import annotations

from core import predictions
from core.ids import new_id
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.predictions import Prediction
from core.retention.policy import CapturePolicy, RetentionPolicy
from core.retention.sweep import Sweeper, Swept
from core.store.store import Store
from tests.support import images

DAY = 86_400.0
NOW = 20_000 * DAY


def image(seed: int) -> bytes:
    return images.png(16, 16, seed)


def predict(store: Store, content: bytes, days_ago: float = 0.0, **fields: object) -> str:
    row = Prediction(
        new_id(),
        store.blobs.put(content, durable=False),
        1,
        "cat",
        0.9,
        0.8,
        NOW - days_ago * DAY,
        **{"kept_bytes": len(content), "capture": "all"} | fields,
    )
    predictions.add(store.db, [row])
    return row.id


def label(store: Store, content: bytes, days_ago: float = 0.0, key: str | None = None) -> None:
    request = LabelRequest("cat", idempotency_key=key)
    intake.label_image(store, content, request, Limits(), NOW - days_ago * DAY)


def label_by_id(store: Store, prediction_id: str, now: float = NOW) -> None:
    intake.label_prediction(store, prediction_id, LabelRequest("cat"), Limits(), now)


def sweeper_of(
    store: Store,
    capture: CapturePolicy | None = None,
    retention: RetentionPolicy | None = None,
    named: tuple[int, ...] = (),
) -> Sweeper:
    return Sweeper(store, capture or CapturePolicy(), retention or RetentionPolicy(), None, named)


def sweep(
    store: Store,
    capture: CapturePolicy | None = None,
    retention: RetentionPolicy | None = None,
    now: float = NOW,
) -> list[Swept]:
    return list(sweeper_of(store, capture, retention).sweep(now))


def get(store: Store, prediction_id: str) -> Prediction | None:
    with store.db.read() as conn:
        return predictions.get(conn, prediction_id)
