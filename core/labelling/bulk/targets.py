"""What labels by the hundred are for. It says which images have to be decoded first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from core import class_names, erased
from core.errors import EvergreenError, UnknownExample, UnknownPrediction
from core.predictions import Prediction
from core.store import schema
from core.store.blobs import sha256
from core.store.store import Store

MAX_LABELS = 500


@dataclass(frozen=True, slots=True)
class BulkLabel:
    """A label of an example, of the input of a prediction, or of an input that comes with it: two
    of the three are None."""

    label: str
    example_id: int | None = None
    prediction_id: str | None = None
    # As it is stored.
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """What a label is for."""

    # Normalised.
    label: str
    image: str
    # None: the image is no example yet.
    example_id: int | None
    # None: the example itself was named, or the input came.
    prediction: Prediction | None
    # None: the input did not come.
    content: bytes | None = field(default=None, repr=False)


def find_targets(store: Store, wanted: Sequence[BulkLabel]) -> list[Target | EvergreenError]:
    """What each label is for, or why it cannot be stored."""
    prediction_ids = {each.prediction_id for each in wanted if each.prediction_id is not None}
    with store.db.read() as conn:
        rows = conn.execute(
            select(schema.predictions).where(schema.predictions.c.id.in_(prediction_ids))
        )
        predictions = {row.id: Prediction(*row) for row in rows}
        sent = {each.content: sha256(each.content) for each in wanted if each.content is not None}
        of_image = example_ids(
            conn, {*(each.image for each in predictions.values()), *sent.values()}
        )
        images = _images(conn, {each.example_id for each in wanted if each.example_id is not None})
    targets: list[Target | EvergreenError] = []
    for each in wanted:
        try:
            label = class_names.normalise(each.label)
            if each.example_id is not None:
                image = images.get(each.example_id)
                if image is None or erased.is_erased(image):
                    what = "does not exist" if image is None else "was erased"
                    raise UnknownExample(f"example {each.example_id} {what}")
                targets.append(Target(label, image, each.example_id, None))
                continue
            if each.content is not None:
                image = sent[each.content]
                targets.append(Target(label, image, of_image.get(image), None, each.content))
                continue
            prediction = predictions.get(each.prediction_id or "")
            if prediction is None:
                raise UnknownPrediction(
                    f"prediction {(each.prediction_id or '')[:40]!r} does not exist; it may have "
                    f"been deleted since: send the {store.kind.noun} itself"
                )
            example_id = of_image.get(prediction.image)
            targets.append(Target(label, prediction.image, example_id, prediction))
        except EvergreenError as error:
            targets.append(error)
    return targets


def example_ids(conn: Connection, images: Collection[str]) -> dict[str, int]:
    query = select(schema.examples.c.image, schema.examples.c.id)
    rows = conn.execute(query.where(schema.examples.c.image.in_(images)))
    return {image: example_id for image, example_id in rows}


def _images(conn: Connection, wanted: Collection[int]) -> dict[int, str]:
    query = select(schema.examples.c.id, schema.examples.c.image)
    possible = [each for each in wanted if 0 < each < 2**63]
    rows = conn.execute(query.where(schema.examples.c.id.in_(possible)))
    return {example_id: image for example_id, image in rows}
