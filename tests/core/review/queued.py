"""A champion without files, and predictions that wait for a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import predictions
from core.audit import Actor
from core.ids import new_id
from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.models.references import References
from core.predictions import Prediction
from core.review.directions import to_int8
from core.review.items import Found
from core.review.queue import show as queue
from core.review.queue.show import Queue
from core.store.blobs import sha256
from core.store.store import Store
from tests.support import images, tiny

ANN = Actor("ann")
CAT, DOG, BOTH = (1, 0, 0, 0), (0, 1, 0, 0), (1, 0.9, 0, 0)
OTHER, FOURTH = (0, 0, 1, 0), (0, 0, 0, 1)


class Champion:
    """Scores cat by the first number of a direction, dog by the second."""

    def __init__(self, run_id: str | None = "run", references: References | None = None) -> None:
        self.manifest = tiny.plain_manifest(version=2, run_id=run_id)
        self.version = 2
        self.references = references

    def score(self, x_ND: NDArray[np.float32]) -> tuple[Any, NDArray[np.float32]]:
        powers_N2 = np.exp(5 * x_ND[:, :2])
        return None, powers_N2 / powers_N2.sum(axis=1, keepdims=True)


def publish(store: Store) -> None:
    """Versions 1 and 2 have one backbone, and version 3 another."""
    for backbone in ("b", "b", "c"):
        tiny.publish(store, tiny.plain_manifest(backbone=backbone * 64))


def content(number: int) -> bytes:
    return images.png(16, 16, number)


def label(store: Store, number: int, name: str = "cat") -> int:
    request = LabelRequest(name)
    return intake.label_image(store, content(number), request, Limits(), 1.0).event.example_id


def label_many(store: Store) -> None:
    """So many that margins say something."""
    for number in range(1_000, 1_042):
        label(store, number, ("cat", "dog")[number % 2])


def wait(
    store: Store, number: int, direction: Sequence[float] | None, version: int = 1, **fields: Any
) -> str:
    """Store a prediction of the image of that number. Its time is the number. Returns its id."""
    embedding = None if direction is None else to_int8(np.array(direction, np.float32))
    values = {"margin": 0.5, "created_at": float(number), "kept_bytes": 1, **fields}
    row = Prediction(
        id=new_id(),
        image=sha256(content(number)),
        version=version,
        label="cat",
        confidence=0.75,
        embedding=embedding,
        **values,
    )
    predictions.add(store.db, [row])
    return row.id


def show(
    store: Store,
    by: queue.By = "doubt",
    limit: int = 20,
    reviewer: str = "ann",
    champion: Champion | None = None,
    found: Found | None = None,
) -> Queue:
    return queue.show(
        store,
        champion or Champion(),  # type: ignore[arg-type]
        found,
        by=by,
        limit=limit,
        reviewer=reviewer,
        actor=ANN,
    )


def shown(*args: Any, **options: Any) -> list[str]:
    """The ids of what is shown."""
    items = show(*args, **options).items
    return [item.prediction.id for item in items if item.prediction is not None]
