"""Predictions: which version predicted which label for which image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter

from sqlalchemy import Connection, insert, select

from core import erased
from core.ids import may_be_id
from core.store.database import Database
from core.store.schema import predictions

LOW_DISK = "low disk"
SWEPT = "swept"
#: Why the image of a prediction is not there, by what the row says.
NOT_KEPT = {
    "none": 'the recipe says keep = "none"',
    "not sampled": "the recipe keeps a share of the predictions, and this was not among them",
    "not doubtful": "the recipe keeps doubtful predictions only",
    "hourly limit": "there were more predictions in that hour than max_per_hour of the recipe",
    LOW_DISK: "less disk was free than EVERGREEN_MIN_FREE_DISK_MB",
    SWEPT: "it was swept, as max_days or max_gb of the recipe says",
}


@dataclass(frozen=True, slots=True)
class Prediction:
    id: str
    image: str
    version: int
    label: str
    confidence: float
    # Probability of the first class minus that of the second. Small means unsure.
    margin: float
    created_at: float
    # Whether the image is unlike everything labelled; None: the version cannot say.
    unfamiliar: bool | None = None
    # Size of the image, which the sweeper deletes some day. 0: unknown. None: it is not kept.
    kept_bytes: int | None = 0
    # Why the image was kept or not: see `core/retention/capture.py`.
    capture: str | None = None
    # The direction of its embedding, as int8 [D] (`core/review/directions.py`). None: not kept.
    embedding: bytes | None = None


# Without the embedding, which few readers need, and which is larger than all the rest.
_BRIEF = select(*(column for column in predictions.columns if column.name != "embedding"))
_row = attrgetter(*(column.name for column in predictions.columns))


def add(db: Database, group: Sequence[Prediction], patience_s: float | None = None) -> None:
    """Insert predictions in one transaction, which is not durable. Raises StoreError.

    With `patience_s`, it gives up after so many seconds where another process holds SQLite's lock.
    """
    db.insert_rows(predictions, [_row(prediction) for prediction in group], patience_s)


def add_missing(db: Database, group: Sequence[Prediction]) -> None:
    """Insert those predictions that are not there yet, unless their image was erased since.

    Raises StoreError.
    """
    if not group:
        return
    ids = [prediction.id for prediction in group]
    with db.write(durable=False) as conn:
        gone = erased.from_before(conn, [(each.image, each.created_at) for each in group])
        group = [each for each in group if (each.image, each.created_at) not in gone]
        known = set(conn.scalars(select(predictions.c.id).where(predictions.c.id.in_(ids))))
        rows = [asdict(prediction) for prediction in group if prediction.id not in known]
        if rows:
            conn.execute(insert(predictions), rows)


def get(conn: Connection, prediction_id: str) -> Prediction | None:
    """Return a prediction, without its embedding."""
    if not may_be_id(prediction_id):
        return None
    row = conn.execute(_BRIEF.where(predictions.c.id == prediction_id)).one_or_none()
    return None if row is None else Prediction(*row)
