"""The nearest labelled examples of an image, by the champion's backbone: an answer to *why*.

The index is in the memory of a process: 20,000 embeddings of 1,280 numbers take 26 MB. It is read
when it is first needed, and follows new examples. Labels are read when they are asked for.

N examples of the index, D embedding.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from core.class_names import NONE_OF_THESE
from core.errors import UnknownPrediction
from core.ids import may_be_id
from core.labelling import embeddings
from core.labelling.examples import image_of
from core.labelling.predicted_image import read_image
from core.predictions import Prediction
from core.review import images
from core.review.directions import from_int8, to_int8, unit
from core.review.items import ExampleItem, Found, read_items
from core.store.schema import examples, predictions, versions
from core.store.store import Store
from core.store.tables.retention import erasures
from core.store.tables.tallies import current_labels

MAX_EXAMPLES = 20_000
_READ = 1_000
# Rows that are compared at once fit into the cache of a core.
_COMPARED = 512
# Some of the nearest may have lost their label since, or be the image itself.
_SPARE = 50

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    example: ExampleItem
    # Cosine of the embeddings.
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """The image that neighbours are wanted of."""

    image: str
    # Its direction by the backbone; None: the image has to be embedded.
    x_D: Floats | None
    of: Prediction | int


def of_example(conn: Connection, example_id: int, backbone: str) -> Query:
    """Raises UnknownExample."""
    image = image_of(conn, example_id)
    stored = embeddings.get(conn, backbone, [example_id]).get(example_id)
    x_D = None if stored is None else unit(stored.astype(np.float32)[np.newaxis])[0]
    return Query(image, x_D, example_id)


def of_prediction(conn: Connection, prediction_id: str, backbone: str) -> Query:
    """Raises UnknownPrediction."""
    query = (
        select(predictions, versions.c.backbone)
        .outerjoin(versions, versions.c.number == predictions.c.version)
        .where(predictions.c.id == prediction_id)
    )
    row = conn.execute(query).one_or_none() if may_be_id(prediction_id) else None
    if row is None:
        raise UnknownPrediction(f"prediction {prediction_id[:40]!r} does not exist")
    prediction = Prediction(*row[:-1])
    is_of_backbone = row.backbone == backbone and prediction.embedding is not None
    x_D = from_int8([prediction.embedding or b""])[0] if is_of_backbone else None
    return Query(prediction.image, x_D, prediction)


def read_image_of(store: Store, query: Query) -> bytes:
    """Read the image, to embed it. Raises ImageNotKept, ImageLost, StoreError."""
    if isinstance(query.of, Prediction):
        return read_image(store, query.of)
    return images.read_of_example(store, query.of, query.image)


@dataclass(slots=True, eq=False)
class _Rows:
    """Of one backbone. The first `count` rows are used."""

    backbone: str
    # What was seen last: newest version, newest example, newest erasure.
    seen: tuple[int, int, int]
    id_N: NDArray[np.int64]
    direction_ND: NDArray[np.int8]
    length_N: Floats
    count: int = 0


class NeighbourIndex:
    """For many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._rows: _Rows | None = None

    def nearest(
        self, query: Query, x_D: Floats, backbone: str, limit: int, found: Found | None
    ) -> list[Neighbour]:
        """The nearest examples that have a label now, nearest first. `x_D` has length 1."""
        with self._store.db.read() as conn:
            with self._lock:
                rows = self._refresh(conn, backbone, len(x_D))
                id_N, cosine_N = rows.id_N[: rows.count].copy(), _compare(rows, x_D)
            neighbours: list[Neighbour] = []
            order = np.argsort(-cosine_N, kind="stable")
            for start in range(0, len(order), limit + _SPARE):
                some = order[start : start + limit + _SPARE]
                cosines = dict(zip(id_N[some].tolist(), cosine_N[some].tolist(), strict=True))
                neighbours += [
                    Neighbour(item, min(1.0, cosines[item.id]))
                    for item in read_items(conn, list(cosines), found)
                    if item.label not in (None, NONE_OF_THESE) and item.image != query.image
                ]
                if len(neighbours) >= limit:
                    break
        return neighbours[:limit]

    def _refresh(self, conn: Connection, backbone: str, size: int) -> _Rows:
        seen = _newest(conn)
        rows = self._rows
        if rows is not None and rows.backbone == backbone and rows.seen[2] == seen[2]:
            if rows.seen != seen:
                _follow(conn, rows)
                rows.seen = seen
            return rows
        self._rows = None  # its memory is free before the new one takes some
        # Pages that nothing was written to take no memory.
        rows = _Rows(
            backbone,
            seen,
            np.empty(MAX_EXAMPLES, np.int64),
            np.empty((MAX_EXAMPLES, size), np.int8),
            np.empty(MAX_EXAMPLES, np.float32),
        )
        _follow(conn, rows)
        self._rows = rows
        return rows


def _newest(conn: Connection) -> tuple[int, int, int]:
    """Embeddings are made in runs, and most runs publish a version."""
    maxima = (func.max(versions.c.number), func.max(examples.c.id), func.max(erasures.c.id))
    row = [conn.execute(select(func.coalesce(each, 0))).scalar_one() for each in maxima]
    return int(row[0]), int(row[1]), int(row[2])


def _follow(conn: Connection, rows: _Rows) -> None:
    """Add the newest examples that have an embedding, in place of those that are too many."""
    query = select(current_labels.c.example_id).order_by(current_labels.c.example_id.desc())
    wanted = list(conn.scalars(query.limit(MAX_EXAMPLES)))
    known_N = rows.id_N[: rows.count]
    new = np.setdiff1d(np.asarray(wanted, np.int64), known_N)[::-1].tolist()
    free = np.flatnonzero(~np.isin(known_N, wanted)).tolist()
    for start in range(0, len(new), _READ):
        stored = embeddings.get(conn, rows.backbone, new[start : start + _READ])
        for example_id, vector_D in stored.items():
            _put(rows, example_id, vector_D, free)


def _put(rows: _Rows, example_id: int, vector_D: NDArray[np.float16], free: list[int]) -> None:
    direction = to_int8(vector_D.astype(np.float32))
    if direction is None or len(direction) != rows.direction_ND.shape[1]:
        return
    if rows.count < MAX_EXAMPLES:
        row, rows.count = rows.count, rows.count + 1
    elif free:
        row = free.pop()
    else:
        return
    rows.id_N[row] = example_id
    rows.direction_ND[row] = np.frombuffer(direction, np.int8)
    rows.length_N[row] = np.linalg.norm(rows.direction_ND[row].astype(np.float32))


def _compare(rows: _Rows, x_D: Floats) -> Floats:
    cosine_N = np.empty(rows.count, np.float32)
    for start in range(0, rows.count, _COMPARED):
        stop = min(start + _COMPARED, rows.count)
        cosine_N[start:stop] = rows.direction_ND[start:stop].astype(np.float32) @ x_D
    return cosine_N / rows.length_N[: rows.count]
