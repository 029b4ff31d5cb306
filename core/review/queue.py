"""The queue: what is most worth a person's time to label.

*doubt* shows kept predictions that teach most, *unfamiliar* those unlike everything labelled, and
*suspect* labels that are probably wrong. Nobody is shown two near-duplicates, nor what somebody
else was shown a moment ago.

N predictions of the pool, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.models.servable import Servable
from core.predictions import Prediction
from core.review import reservations
from core.review.doubt import doubtful_first, has_few_labels
from core.review.items import ExampleItem, Found
from core.review.near_duplicates import Spread
from core.review.pool import MAX_POOL, Pool, read_pool, scored_anew
from core.review.suspects import read_suspects
from core.store.store import Store

By = Literal["doubt", "suspect", "unfamiliar"]
KINDS: tuple[By, ...] = get_args(By)
MAX_SHOWN = 100
# Unfamiliar images are compared with all references, so many at once.
_COMPARED = 256

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class QueueItem:
    """Either a prediction or an example."""

    why: str
    prediction: Prediction | None = None
    example: ExampleItem | None = None

    @property
    def key(self) -> str:
        """As the table of reservations names it."""
        if self.prediction is not None:
            return f"prediction {self.prediction.id}"
        assert self.example is not None
        return f"example {self.example.id}"


@dataclass(frozen=True, slots=True)
class Queue:
    by: By
    items: list[QueueItem]
    # How many it chose from.
    num_waiting: int
    # What to do where there is nothing; None: there is something.
    hint: str | None


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    item: QueueItem
    # Near-duplicates have similar directions, or one group. Neither: it is compared with nothing.
    x_D: Floats | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    # Best first.
    candidates: Sequence[_Candidate]
    # The directions of the pool.
    x_ND: Floats
    num_waiting: int
    # Where there are no candidates.
    hint: str


def show(
    store: Store,
    champion: Servable,
    found: Found | None,
    *,
    by: By,
    limit: int,
    reviewer: str,
    actor: Actor,
) -> Queue:
    """Choose what to show, and reserve it for the reviewer. `found` is the newest analysis.

    Raises StoreError.
    """
    now = store.db.clock()
    with store.db.read() as conn:
        taken = reservations.of_others(conn, reviewer, now)
        match by:
            case "doubt":
                ranking = _by_doubt(conn, champion, taken, limit)
            case "unfamiliar":
                ranking = _by_unfamiliarity(conn, champion)
            case "suspect":
                ranking = _by_suspicion(conn, found, limit + len(taken))
    chosen = _spread(ranking, taken, limit)
    with store.db.write(durable=False) as conn:
        reservations.lock(conn)
        taken_since = reservations.of_others(conn, reviewer, now)
        if taken_since != taken:
            chosen = _spread(ranking, taken_since, limit)
        keys = [each.item.key for each in chosen]
        reservations.reserve(conn, keys, reviewer, now)
        audit.record(conn, actor, "queue.read", by, now, count=len(keys))
    hint = None
    if not chosen:
        hint = _ALL_RESERVED if ranking.candidates else ranking.hint
    items = [_judged(each, champion) for each in chosen]
    return Queue(by, items, ranking.num_waiting, hint)


_ALL_RESERVED = (
    "others were shown all of it, or near-duplicates, a moment ago; what they do not label is "
    f"free again within {reservations.RESERVED_S:.0f} s"
)
_NO_POOL = (
    "no image waits for a label: send images to /v1/predict, and let [capture] of the recipe keep "
    "them"
)
_NO_ANALYSIS = (
    "no labels were analysed yet: label at least two classes, and let a run of the trainer end"
)
_NO_DIRECTIONS = np.empty((0, 0), np.float32)
_NO_SUSPECT = "no label is suspected; the next analysis follows the next run"


def _by_doubt(conn: Connection, champion: Servable, taken: set[str], limit: int) -> _Ranking:
    pool = scored_anew(read_pool(conn, champion), champion)
    free = [i for i, each in enumerate(pool.placed) if f"prediction {each.id}" not in taken]
    margin_N = np.array([pool.placed[i].margin for i in free], np.float32)
    few = has_few_labels(conn, champion)
    order = doubtful_first(pool.x_ND[free], margin_N, limit, has_few_labels=few)
    candidates = []
    for row, stands_for in order:
        why = f"stands for {stands_for} images" if few and stands_for > 1 else ""
        candidates.append(_placed(pool, free[row], why))
    candidates += [_Candidate(QueueItem(_margin(each), each)) for each in pool.others]
    # What others have is compared with it too.
    is_free = set(free)
    candidates += [_placed(pool, i) for i in range(len(pool.placed)) if i not in is_free]
    return _Ranking(candidates, pool.x_ND, len(pool), _NO_POOL)


def _placed(pool: Pool, row: int, why: str = "") -> _Candidate:
    prediction = pool.placed[row]
    return _Candidate(QueueItem(why or _margin(prediction), prediction), pool.x_ND[row])


def _margin(prediction: Prediction) -> str:
    return f"margin {prediction.margin:.2f}"


def _by_unfamiliarity(conn: Connection, champion: Servable) -> _Ranking:
    pool = scored_anew(read_pool(conn, champion), champion)
    references, candidates = champion.references, []
    if references is not None:
        similarity_N = np.concatenate(
            [
                references.similarity(pool.x_ND[start : start + _COMPARED])
                for start in range(0, MAX_POOL, _COMPARED)
            ]
        )
        for row in np.argsort(similarity_N, kind="stable"):
            if similarity_N[row] < references.threshold:
                why = f"similarity {similarity_N[row]:.2f}, below {references.threshold:.2f}"
                candidates.append(_placed(pool, row, why))
    # What the version cannot compare is left to what its own version said.
    unplaced = pool.others if references is not None else [*pool.placed, *pool.others]
    candidates += [
        _Candidate(QueueItem(f"unfamiliar to version {each.version}", each))
        for each in unplaced
        if each.unfamiliar
    ]
    return _Ranking(candidates, pool.x_ND, len(pool), _none_unfamiliar(pool, champion))


def _none_unfamiliar(pool: Pool, champion: Servable) -> str:
    if not len(pool):
        return _NO_POOL
    if champion.references is None:
        return (
            f"version {champion.version} cannot say what is unfamiliar: label more, and train again"
        )
    return f"none of the {len(pool):,} images that wait is unlike everything labelled"


def _by_suspicion(conn: Connection, found: Found | None, most: int) -> _Ranking:
    if found is None:
        return _Ranking([], _NO_DIRECTIONS, 0, _NO_ANALYSIS)
    suspects, number = read_suspects(conn, found, most)
    candidates = [
        _Candidate(QueueItem(_suspicion(item), example=item), group=group)
        for item, group in suspects
    ]
    return _Ranking(candidates, _NO_DIRECTIONS, number, _NO_SUSPECT)


def _suspicion(item: ExampleItem) -> str:
    return f"its label has probability {item.label_probability or 0.0:.2f}"


def _spread(ranking: _Ranking, taken: set[str], limit: int) -> list[_Candidate]:
    """The first candidates that are nearly the same as no other, nor as what others have."""
    spread = Spread(ranking.x_ND)
    free = []
    for each in ranking.candidates:
        if each.item.key in taken:
            spread.add(each.x_D, each.group)
        else:
            free.append(each)
    chosen: list[_Candidate] = []
    for each in free:
        if len(chosen) == limit:
            break
        if not spread.has_near_duplicate(each.x_D, each.group):
            spread.add(each.x_D, each.group)
            chosen.append(each)
    return chosen


def _judged(candidate: _Candidate, champion: Servable) -> QueueItem:
    """With the champion's word on what is unfamiliar, if the champion scored it."""
    item, x_D = candidate.item, candidate.x_D
    if x_D is None or item.prediction is None or item.prediction.version != champion.version:
        return item
    if champion.references is None:
        return item
    is_unfamiliar = bool(champion.references.are_unfamiliar(x_D[np.newaxis])[0])
    return replace(item, prediction=replace(item.prediction, unfamiliar=is_unfamiliar))
