"""The pool: kept predictions without a label, from which the queue chooses what to show.

The newest ones, each image once. Those of a version with the champion's backbone have a direction,
so the champion scores them anew without their images.

N predictions with a direction, D embedding, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, select

from core.models.servable import Servable
from core.predictions import Prediction
from core.review.directions import from_int8
from core.store.schema import examples, predictions, versions
from core.store.tables.tallies import current_labels

MAX_POOL = 2_000
# Of the newest kept predictions so many are looked at, where most are labelled, or copies.
MAX_LABELLED = 50_000
MAX_READ = 10_000
# Below SQLite's limit on the parameters of a statement.
_CHUNK = 500
# Rows that are scored in one run: others come in between.
_SCORED = 256

# A subquery of one value, so that no database joins all examples to find a few.
_LABEL = (
    select(current_labels.c.event_id)
    .join(examples, examples.c.id == current_labels.c.example_id)
    .where(examples.c.image == predictions.c.image)
    .scalar_subquery()
)
_BRIEF = [column for column in predictions.columns if column.name != "embedding"]
_IMAGE = _BRIEF.index(predictions.c.image)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    # With a direction, newest first.
    placed: Sequence[Prediction]
    # Of length 1.
    x_ND: NDArray[np.float32]
    # Without one, by the margin that their own versions gave.
    others: Sequence[Prediction]

    def __len__(self) -> int:
        return len(self.placed) + len(self.others)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the champion says of the placed predictions now."""

    champion: Servable
    # An index into its classes; -1: as the prediction says.
    class_N: NDArray[np.intp]
    confidence_N: NDArray[np.float32]
    margin_N: NDArray[np.float32]


def read_pool(conn: Connection, champion: Servable) -> Pool:
    """Read the pool, with the scores of the versions that predicted."""
    newest = _newest(conn)
    usable = _usable(conn, {each.version for each in newest}, champion.manifest.backbone)
    ids = [each.id for each in newest if each.version in usable]
    size = champion.manifest.embedding_size
    stored: dict[str, bytes] = {}
    for start in range(0, len(ids), _CHUNK):
        rows = conn.execute(_embeddings_of(ids[start : start + _CHUNK])).all()
        stored.update((row.id, row.embedding) for row in rows if len(row.embedding) == size)
    placed = [each for each in newest if each.id in stored]
    others = sorted((e for e in newest if e.id not in stored), key=lambda e: e.margin)
    return Pool(placed, from_int8([stored[each.id] for each in placed]), others)


def score(pool: Pool, champion: Servable) -> Scores:
    """Score what other versions predicted, without the images."""
    scores = Scores(
        champion,
        np.full(len(pool.placed), -1, np.intp),
        np.array([each.confidence for each in pool.placed], np.float32),
        np.array([each.margin for each in pool.placed], np.float32),
    )
    manifest = champion.manifest
    if manifest.run_id is None:  # a pretrained head takes more than the direction
        return scores
    is_old = [each.version != manifest.version for each in pool.placed]
    old_N = np.flatnonzero(is_old)
    for start in range(0, len(old_N), _SCORED):
        rows = old_N[start : start + _SCORED]
        _, probabilities_BK = champion.score(pool.x_ND[rows])
        scores.class_N[rows] = probabilities_BK.argmax(axis=1)
        # The two largest, ascending.
        best_B2 = np.partition(probabilities_BK, -2, axis=1)[:, -2:]
        scores.confidence_N[rows] = best_B2[:, 1]
        scores.margin_N[rows] = best_B2[:, 1] - best_B2[:, 0]
    return scores


def as_predicted_now(pool: Pool, scores: Scores, row: int) -> Prediction:
    """Return a placed prediction as the champion would predict it."""
    prediction, number = pool.placed[row], int(scores.class_N[row])
    if number < 0:
        return prediction
    champion, unfamiliar = scores.champion, None
    if champion.references is not None:
        unfamiliar = bool(champion.references.are_unfamiliar(pool.x_ND[row : row + 1])[0])
    return replace(
        prediction,
        version=champion.version,
        label=champion.manifest.classes[number],
        confidence=float(scores.confidence_N[row]),
        margin=float(scores.margin_N[row]),
        unfamiliar=unfamiliar,
    )


def _newest(conn: Connection) -> list[Prediction]:
    """The newest prediction of each image, newest first."""
    is_kept = predictions.c.kept_bytes.is_not(None)
    query = (
        select(*_BRIEF)
        .where(is_kept, _LABEL.is_(None))
        .order_by(predictions.c.created_at.desc(), predictions.c.id.desc())
        .limit(MAX_READ)
    )
    oldest = select(predictions.c.created_at).where(is_kept)
    oldest = oldest.order_by(predictions.c.created_at.desc()).offset(MAX_LABELLED).limit(1)
    moment = conn.execute(oldest).scalar()
    if moment is not None:
        query = query.where(predictions.c.created_at > moment)
    found: dict[str, Prediction] = {}
    with conn.execute(query.execution_options(yield_per=_CHUNK)) as rows:
        for some in rows.partitions():
            for row in some:
                if row[_IMAGE] not in found:
                    found[row[_IMAGE]] = Prediction(*row)
            if len(found) >= MAX_POOL:
                break
    return list(found.values())[:MAX_POOL]


def _usable(conn: Connection, numbers: set[int], backbone: str) -> set[int]:
    """Those of the versions that have the backbone."""
    known = select(versions.c.number).where(
        versions.c.number.in_(numbers), versions.c.backbone == backbone
    )
    return set(conn.scalars(known))


def _embeddings_of(ids: Sequence[str]) -> Select[tuple[str, bytes]]:
    columns = predictions.c
    return select(columns.id, columns.embedding).where(
        columns.id.in_(ids), columns.embedding.is_not(None)
    )
