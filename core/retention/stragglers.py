"""Stragglers: predictions of an erased image, made before the erasure and stored after it."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from core import erased
from core.erased import Erasure
from core.retention import doomed
from core.store.schema import predictions, shadow_answers
from core.store.store import Store


def delete_predictions(conn: Connection, image: str, until: float) -> tuple[int, int]:
    """Delete the predictions of an image that were made until then, with the answers of shadows,
    and doom the image. Returns how many of both there were."""
    is_of_image = (predictions.c.image == image) & (predictions.c.created_at <= until)
    rows = conn.execute(select(predictions.c.kept_bytes).where(is_of_image)).all()
    ids = select(predictions.c.id).where(is_of_image)
    answers = conn.execute(delete(shadow_answers).where(shadow_answers.c.prediction_id.in_(ids)))
    conn.execute(delete(predictions).where(is_of_image))
    doomed.doom(conn, doomed.IMAGE, {image: max((row.kept_bytes or 0 for row in rows), default=0)})
    return len(rows), answers.rowcount


def delete_late(store: Store, now: float) -> int:
    """Delete the stragglers of all erasures of late. Returns of how many erasures."""
    with store.db.read() as conn:
        recent = erased.since(conn, now - erased.RECENT_S)
        late = [each for each in recent if _is_late(conn, each)]
    for each in late:
        with store.db.write() as conn:
            delete_predictions(conn, each.image, each.created_at)
    for each in recent:  # its file may be there without a row
        doomed.delete_image(store, each.image, now)
    return len(late)


def _is_late(conn: Connection, erasure: Erasure) -> bool:
    is_old = predictions.c.created_at <= erasure.created_at
    query = select(predictions.c.id).where(predictions.c.image == erasure.image, is_old)
    return conn.execute(query.limit(1)).first() is not None
