"""The image of a prediction, to label it by the prediction's id."""

from __future__ import annotations

from core import predictions
from core.errors import BlobMissing, ImageNotKept, UnknownPrediction
from core.predictions import NOT_KEPT, Prediction
from core.store.store import Store


def prediction_of(store: Store, prediction_id: str) -> Prediction:
    """Raises UnknownPrediction."""
    with store.db.read() as conn:
        prediction = predictions.get(conn, prediction_id)
    if prediction is None:
        raise UnknownPrediction(
            f"prediction {prediction_id[:40]!r} does not exist; send the id that a prediction "
            "answered with, or send the input itself: a prediction is not kept for ever, nor if "
            "it is made while the store is down and the spool full"
        )
    return prediction


def read_image(store: Store, prediction: Prediction) -> bytes:
    """Read the image, which may be kept for another prediction too. Raises ImageNotKept."""
    try:
        return store.blobs.get(prediction.image)
    except BlobMissing as error:
        why = NOT_KEPT.get(prediction.capture or "", "its file is gone")
        raise ImageNotKept(
            f"the input of prediction {prediction.id} is not kept ({why}); send the input itself "
            "with its label"
        ) from error
