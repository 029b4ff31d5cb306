"""Label and predict images in a store, and read what it holds."""

from __future__ import annotations

from sqlalchemy import func, select

from core import ids, predictions
from core.inputs.kind import Limits
from core.labelling import intake, labels
from core.labelling.intake import IntakeResult, LabelRequest
from core.predictions import Prediction
from core.store import schema
from core.store.store import Store
from tests.support import images

LIMITS = Limits()
IMAGE = images.png(24, 20, 1)
OTHER = images.png(24, 20, 2)
DIRECTION = bytes(range(1, 101))
CAT = LabelRequest("cat")


def label(store: Store, request: LabelRequest = CAT, image: bytes = IMAGE) -> IntakeResult:
    return intake.label_image(store, image, request, LIMITS, now=1.0)


def predict(store: Store, image: bytes = IMAGE) -> str:
    prediction = Prediction(
        id=ids.new_id(),
        image=store.blobs.put(image, durable=False),
        version=1,
        label="dog",
        confidence=0.6,
        margin=0.2,
        created_at=0.5,
        embedding=DIRECTION,
    )
    predictions.add(store.db, [prediction])
    return prediction.id


def count(store: Store, table: str = "labels") -> int:
    with store.db.read() as conn:
        query = select(func.count()).select_from(schema.metadata.tables[table])
        return conn.execute(query).scalar_one()


def current(store: Store) -> list[tuple[str, str]]:
    with store.db.read() as conn:
        return [(row.image, row.label) for row in labels.current(conn)]
