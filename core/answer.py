"""An answer: what a version says of one image, and the prediction that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core import pixels
from core.blobs import Blobs
from core.manifest import Manifest
from core.pixels import Limits
from core.predictions import Prediction, new_id
from core.servable import Scores, Servable


@dataclass(frozen=True, slots=True)
class Answer:
    """A prediction with all that its version says of it: (class, confidence), best first."""

    prediction: Prediction
    ranking: list[tuple[str, float]]
    abstains: bool
    # Shape [D]; what versions with the same backbone would start from.
    embedding_D: NDArray[np.float32]


def answer(servable: Servable, image: bytes, blobs: Blobs, limits: Limits, now: float) -> Answer:
    """Predict, and keep the image. The prediction is not yet a row.

    Raises UndecodableImage, ImageTooLarge, StoreError.
    """
    return conclude(servable.manifest, image, see(servable, image, limits), blobs, now)


def see(servable: Servable, image: bytes, limits: Limits) -> Scores:
    """The scores of one image. Raises UndecodableImage, ImageTooLarge."""
    pixels_HWC = pixels.decode(image, servable.manifest.pixels, limits)
    return servable.predict(pixels_HWC[np.newaxis])


def conclude(manifest: Manifest, image: bytes, scores: Scores, blobs: Blobs, now: float) -> Answer:
    """What the scores of one image say; keeps the image. Raises StoreError."""
    confidences_K: list[float] = scores.probabilities_BK[0].tolist()
    # The image is kept before the row that names it, so that it can be corrected by id.
    digest = blobs.put(image, durable=False)
    order: list[int] = np.argsort(-scores.probabilities_BK[0], kind="stable").tolist()
    ranking = [(manifest.classes[k], confidences_K[k]) for k in order]
    confidence = ranking[0][1]
    prediction = Prediction(
        id=new_id(),
        image=digest,
        version=manifest.version,
        label=ranking[0][0],
        confidence=confidence,
        margin=confidence - ranking[1][1] if len(ranking) > 1 else 1.0,
        created_at=now,
    )
    below = manifest.abstain_below
    abstains = below is not None and confidence < below
    return Answer(prediction, ranking, abstains, scores.embedding_BD[0])
