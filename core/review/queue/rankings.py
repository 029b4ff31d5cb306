"""What each kind of queue shows first, whoever asks.

N predictions of the pool, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from core.inputs import kinds
from core.inputs.kind import InputKind
from core.models.servable import Servable
from core.predictions import Prediction
from core.review.items import ExampleItem, Found
from core.review.queue.doubt import doubtful_first, has_few_labels
from core.review.queue.pool import Pool, as_predicted_now, read_pool, score
from core.review.queue.suspects import read_suspects

# Unfamiliar images are compared with all references, so many at once.
_COMPARED = 256
_NO_POOL = (
    "no prediction waits for a label: call /v1/predict, and let [capture] of the recipe keep what "
    "it is sent"
)
_NO_ANALYSIS = (
    "no labels were analysed yet: label at least two classes, and let a run of the trainer end"
)
_NO_SUSPECT = "no label is suspected; the next analysis follows the next run"
_NO_DIRECTIONS = np.empty((0, 0), np.float32)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class QueueItem:
    """Either a prediction or an example."""

    why: str
    prediction: Prediction | None = None
    example: ExampleItem | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    # As the table of reservations names it.
    key: str
    make: Callable[[], QueueItem]
    # Near-duplicates have similar directions, or one group. Neither: it is compared with nothing.
    x_D: Floats | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    # Best first.
    candidates: Sequence[Candidate]
    # The directions of the pool.
    x_ND: Floats
    num_waiting: int
    # What to do where there are no candidates.
    hint: str


def by_doubt(conn: Connection, champion: Servable, taken: set[str], limit: int) -> Ranking:
    """Best for somebody whom `limit` are shown, none of them taken. Those are ranked last."""
    pool = read_pool(conn, champion)
    scores = score(pool, champion)
    keys = [_key(each) for each in pool.placed]
    is_taken_N = np.array([key in taken for key in keys], np.bool_)
    free_N = np.flatnonzero(~is_taken_N)
    x_ND = pool.x_ND[free_N] if is_taken_N.any() else pool.x_ND
    few = has_few_labels(conn, champion)
    order = doubtful_first(x_ND, scores.margin_N[free_N], limit, has_few_labels=few)

    def placed(row: int, stands_for: int = 0) -> Candidate:
        def make() -> QueueItem:
            prediction = as_predicted_now(pool, scores, row)
            why = f"stands for {stands_for} predictions" if few and stands_for > 1 else ""
            return QueueItem(why or f"margin {prediction.margin:.2f}", prediction)

        return Candidate(keys[row], make, pool.x_ND[row])

    candidates = [placed(int(free_N[row]), stands_for) for row, stands_for in order]
    candidates += [_unplaced(each, f"margin {each.margin:.2f}") for each in pool.others]
    candidates += [placed(row) for row in np.flatnonzero(is_taken_N).tolist()]
    return Ranking(candidates, pool.x_ND, len(pool), _no_pool(champion))


def by_unfamiliarity(conn: Connection, champion: Servable) -> Ranking:
    """The least similar to the references of the champion first."""
    pool = read_pool(conn, champion)
    scores, references = score(pool, champion), champion.references
    if references is None or not len(pool.placed):
        unplaced = [*pool.placed, *pool.others]
        return _ranking(champion, pool, [_said_unfamiliar(e) for e in unplaced if e.unfamiliar])
    similarity_N = np.concatenate(
        [
            references.similarity(pool.x_ND[start : start + _COMPARED])
            for start in range(0, len(pool.placed), _COMPARED)
        ]
    )
    threshold = references.threshold

    def placed(row: int) -> Candidate:
        def make() -> QueueItem:
            why = f"similarity {similarity_N[row]:.2f}, below {threshold:.2f}"
            return QueueItem(why, as_predicted_now(pool, scores, row))

        return Candidate(_key(pool.placed[row]), make, pool.x_ND[row])

    order = np.argsort(similarity_N, kind="stable").tolist()
    candidates = [placed(row) for row in order if similarity_N[row] < threshold]
    candidates += [_said_unfamiliar(each) for each in pool.others if each.unfamiliar]
    return _ranking(champion, pool, candidates)


def by_suspicion(conn: Connection, found: Found | None, most: int) -> Ranking:
    """The least probable labels first, at least `most` if there are as many."""
    if found is None:
        return Ranking([], _NO_DIRECTIONS, 0, _NO_ANALYSIS)
    suspects, number = read_suspects(conn, found, most)
    candidates = [_suspect(item, group) for item, group in suspects]
    return Ranking(candidates, _NO_DIRECTIONS, number, _NO_SUSPECT)


def _kind_of(champion: Servable) -> InputKind:
    return kinds.of_spec(champion.manifest.input_spec)


def _no_pool(champion: Servable) -> str:
    kind = _kind_of(champion)
    return (
        f"no {kind.noun} waits for a label: send {kind.plural} to /v1/predict, and let [capture] "
        "of the recipe keep them"
    )


def _key(prediction: Prediction) -> str:
    return f"prediction {prediction.id}"


def _unplaced(prediction: Prediction, why: str) -> Candidate:
    return Candidate(_key(prediction), lambda: QueueItem(why, prediction))


def _said_unfamiliar(prediction: Prediction) -> Candidate:
    """The champion cannot compare it."""
    return _unplaced(prediction, f"unfamiliar to version {prediction.version}")


def _suspect(item: ExampleItem, group: str) -> Candidate:
    why = f"its label has probability {item.label_probability or 0.0:.2f}"
    return Candidate(f"example {item.id}", lambda: QueueItem(why, example=item), group=group)


def _ranking(champion: Servable, pool: Pool, candidates: Sequence[Candidate]) -> Ranking:
    hint = f"none of the {len(pool):,} predictions that wait is unlike everything labelled"
    if champion.references is None:
        hint = (
            f"version {champion.version} cannot say what is unfamiliar: label more, and train again"
        )
    return Ranking(candidates, pool.x_ND, len(pool), hint if len(pool) else _no_pool(champion))
