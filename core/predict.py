"""An answer: what a version says of one image, and the prediction that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.ids import new_id
from core.inputs import pixels
from core.inputs.pixels import Limits
from core.models.manifest import Manifest
from core.models.servable import Scores, Servable
from core.predictions import Prediction
from core.store.blobs import Blobs


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """A prediction with all that its version says of it. K classes, D numbers of the embedding."""

    prediction: Prediction
    abstains: bool
    classes: tuple[str, ...]
    probabilities_K: NDArray[np.float32]
    # Indices of the classes, best first.
    order_K: NDArray[np.intp]
    # What versions with the same backbone would start from.
    embedding_D: NDArray[np.float32]

    def best(self, count: int) -> list[tuple[str, float]]:
        """The most likely classes with their confidence, best first."""
        first = self.order_K[:count]
        named = zip(first.tolist(), self.probabilities_K[first].tolist(), strict=True)
        return [(self.classes[k], confidence) for k, confidence in named]


def predict(
    servable: Servable, image: bytes, blobs: Blobs, limits: Limits, now: float
) -> PredictionResult:
    """Predict, and keep the image. The prediction is not yet a row.

    Raises UndecodableImage, ImageTooLarge, StoreError.
    """
    return build_prediction(
        servable.manifest, image, score_image(servable, image, limits), blobs, now
    )


def score_image(servable: Servable, image: bytes, limits: Limits) -> Scores:
    """The scores of one image. Raises UndecodableImage, ImageTooLarge."""
    pixels_HWC = pixels.decode(image, servable.manifest.pixels, limits)
    return servable.predict(pixels_HWC[np.newaxis])


def build_prediction(
    manifest: Manifest, image: bytes, scores: Scores, blobs: Blobs, now: float
) -> PredictionResult:
    """What the scores of one image say; keeps the image. Raises StoreError."""
    probabilities_K = scores.probabilities_BK[0]
    # The image is kept before the row that names it, so that it can be corrected by id.
    digest = blobs.put(image, durable=False)
    order_K = np.argsort(-probabilities_K, kind="stable")
    # All of hundreds of classes as objects of Python would take longer than the rest of this.
    first, *second = order_K[:2].tolist()
    confidence = float(probabilities_K[first])
    prediction = Prediction(
        id=new_id(),
        image=digest,
        version=manifest.version,
        label=manifest.classes[first],
        confidence=confidence,
        margin=confidence - float(probabilities_K[second[0]]) if second else 1.0,
        created_at=now,
    )
    below = manifest.abstain_below
    abstains = below is not None and confidence < below
    embedding_D = scores.embedding_BD[0]
    return PredictionResult(
        prediction, abstains, manifest.classes, probabilities_K, order_K, embedding_D
    )
