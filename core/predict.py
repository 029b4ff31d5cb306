"""Predicting: from one input to the scores of a version, and to the prediction that is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.ids import new_id
from core.inputs.kind import Decoded, Limits
from core.models.manifest import Manifest
from core.models.servable import Scores, Servable
from core.predictions import Prediction
from core.retention.capture import Capture
from core.store.blobs import sha256
from core.store.store import Store


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """A prediction with all its scores. K classes, D numbers of the embedding."""

    prediction: Prediction
    abstains: bool
    classes: tuple[str, ...]
    probabilities_K: NDArray[np.float32]
    # Indices of the classes, best first.
    order_K: NDArray[np.intp]
    # Versions with the same backbone can score it.
    embedding_D: NDArray[np.float32]
    # As `Decoded` has them.
    is_truncated: bool | None = None
    note: str | None = None
    # The version's head is made of the names of its classes.
    is_zero_shot: bool = False

    def best(self, count: int) -> list[tuple[str, float]]:
        """The most likely classes with their confidence, best first."""
        first = self.order_K[:count]
        named = zip(first.tolist(), self.probabilities_K[first].tolist(), strict=True)
        return [(self.classes[k], confidence) for k, confidence in named]


def predict(
    servable: Servable, content: bytes, store: Store, limits: Limits, capture: Capture, now: float
) -> PredictionResult:
    """Predict, and store the input if it is to be kept. The prediction is not yet stored.

    Raises InputError, StoreError.
    """
    decoded = servable.reader.decode(content, limits)
    scores = servable.predict(decoded.array[np.newaxis])
    kept = store.kind.kept(content)
    result = build_prediction(servable.manifest, kept, decoded, scores, capture, now)
    if result.prediction.kept_bytes is not None:
        store.blobs.put(kept, durable=False, digest=result.prediction.image)
    return result


def build_prediction(
    manifest: Manifest,
    content: bytes,
    decoded: Decoded,
    scores: Scores,
    capture: Capture,
    now: float,
) -> PredictionResult:
    """Make a prediction of the scores of one input, and decide whether that is kept. Stores
    nothing."""
    probabilities_K = scores.probabilities_BK[0]
    order_K = np.argsort(-probabilities_K, kind="stable")
    # Converting hundreds of classes to Python objects would take longer than the rest of this.
    first, *second = order_K[:2].tolist()
    confidence = float(probabilities_K[first])
    unfamiliar_B = scores.unfamiliar_B
    prediction = Prediction(
        id=new_id(),
        image=sha256(content),
        version=manifest.version,
        label=manifest.classes[first],
        confidence=confidence,
        margin=confidence - float(probabilities_K[second[0]]) if second else 1.0,
        created_at=now,
        unfamiliar=None if unfamiliar_B is None else bool(unfamiliar_B[0]),
    )
    below = manifest.abstain_below
    abstains = below is not None and confidence < below
    embedding_D = scores.embedding_BD[0]
    prediction = capture.decide(prediction, len(content), embedding_D)
    return PredictionResult(
        prediction,
        abstains,
        manifest.classes,
        probabilities_K,
        order_K,
        embedding_D,
        decoded.is_truncated,
        decoded.note,
        bool(manifest.metrics.get("zero_shot", False)),
    )
