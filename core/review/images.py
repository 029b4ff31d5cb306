"""The stored image of an example or of a prediction. `examples.image_of` says which one an example
has."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from core import predictions
from core.errors import ImageLost, ImageNotKept, UnknownPrediction
from core.labelling import lost_images
from core.predictions import NOT_KEPT
from core.store import lost_blobs
from core.store.schema import examples
from core.store.schema import lost_blobs as lost_rows
from core.store.schema import predictions as prediction_rows
from core.store.store import Store


def of_prediction(conn: Connection, prediction_id: str) -> str:
    """The digest of the image, if it is still kept for any row. Raises UnknownPrediction,
    ImageNotKept."""
    prediction = predictions.get(conn, prediction_id)
    if prediction is None:
        raise UnknownPrediction(
            f"prediction {prediction_id[:40]!r} does not exist; GET /v1/predictions lists those "
            "that are kept"
        )
    if not named(conn, [prediction.image]):
        raise ImageNotKept(_not_kept(prediction_id, NOT_KEPT.get(prediction.capture or "")))
    return prediction.image


def problem_of(conn: Connection, image: str) -> str | None:
    """How the image is lost, `missing` or `damaged`, if somebody found that. None: it is not."""
    query = select(lost_rows.c.problem).where(lost_rows.c.digest == image)
    return conn.execute(query).scalar()


def named(conn: Connection, images: Collection[str]) -> set[str]:
    """Those of some images that an example or a kept prediction names."""
    columns = prediction_rows.c
    is_kept = columns.image.in_(images) & columns.kept_bytes.is_not(None)
    of_examples = conn.scalars(select(examples.c.image).where(examples.c.image.in_(images)))
    return {*of_examples, *conn.scalars(select(columns.image).where(is_kept))}


def read_of_example(store: Store, example_id: int, image: str) -> bytes:
    """Raises ImageLost, and records it, if the image is missing or damaged. Raises StoreError."""
    try:
        return store.blobs.get(image)
    except lost_blobs.LOST as error:
        problem = lost_blobs.problem_of(error) or ""
        lost_images.mark_lost(store, {image: problem}, store.db.clock())
        raise ImageLost(
            f"the input of example {example_id} is {problem} in the blob store: restore it from a "
            "backup, or label the same input again; GET /v1/lost-images lists all of them"
        ) from error


def read_of_prediction(store: Store, prediction_id: str, image: str) -> bytes:
    """Raises ImageNotKept, StoreError."""
    try:
        return store.blobs.get(image)
    except lost_blobs.LOST as error:
        problem = lost_blobs.problem_of(error)
        raise ImageNotKept(_not_kept(prediction_id, f"its file is {problem}")) from error


def _not_kept(prediction_id: str, why: str | None) -> str:
    return (
        f"the input of prediction {prediction_id} is not kept"
        f"{f' ({why})' if why else ''}; GET /v1/predictions lists those that are"
    )
