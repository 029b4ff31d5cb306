"""An example as people see it in a list: its row, its current label, and what the newest analysis
says of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Column, Connection, Row, Select, select

from core import erased
from core.review.analyses import AnalysisRow
from core.review.analysis import Analysis
from core.store.schema import examples, labels
from core.store.tables.tallies import current_labels

# Below SQLite's limit on the parameters of a statement.
_CHUNK = 500

Found = tuple[AnalysisRow, Analysis]


@dataclass(frozen=True, slots=True)
class ExampleItem:
    id: int
    # The SHA-256 of its bytes.
    image: str
    width: int
    height: int
    source: str
    is_held_out: bool
    created_at: float
    # None: its labels were retracted.
    label: str | None
    labelled_at: float | None
    # By the newest analysis; None: it has not scored the example.
    predicted: str | None
    # Of the label; None too if the label was given after the analysis.
    label_probability: float | None
    # None: the analysis does not know the example, or cannot say.
    unfamiliar: bool | None
    # Mean cosine to the nearest references, as `Analysis` has it.
    similarity: float | None


@dataclass(frozen=True, slots=True)
class _Scores:
    predicted: str | None = None
    label_probability: float | None = None
    unfamiliar: bool | None = None
    similarity: float | None = None


_NOT_ANALYSED = _Scores()
_EXAMPLES = select(
    examples.c.id,
    examples.c.image,
    examples.c.width,
    examples.c.height,
    examples.c.source,
    examples.c.is_held_out,
    examples.c.created_at,
)
_CURRENT = select(current_labels.c.example_id, current_labels.c.label, current_labels.c.event_id)
_TIMES = select(labels.c.id, labels.c.created_at)


def read_items(conn: Connection, ids: Sequence[int], found: Found | None) -> list[ExampleItem]:
    """Read examples in the order of their ids as given. Unknown and erased ones are left out."""
    # Three reads by a primary key each: of a join PostgreSQL may read whole tables.
    rows = {row.id: row for row in _read(conn, _EXAMPLES, examples.c.id, ids)}
    given = {row.example_id: row for row in _read(conn, _CURRENT, current_labels.c.example_id, ids)}
    events = [row.event_id for row in given.values()]
    times = {row.id: row.created_at for row in _read(conn, _TIMES, labels.c.id, events)}
    items = []
    for example_id, place in zip(ids, _places(ids, found), strict=True):
        row, label = rows.get(example_id), given.get(example_id)
        if row is None or erased.is_erased(row.image):
            continue
        scores = _NOT_ANALYSED
        if found is not None and place is not None:
            scores = _scores(label, *found, place)
        items.append(
            ExampleItem(
                id=row.id,
                image=row.image,
                width=row.width,
                height=row.height,
                source=row.source,
                is_held_out=bool(row.is_held_out),
                created_at=row.created_at,
                label=None if label is None else label.label,
                labelled_at=None if label is None else times.get(label.event_id),
                predicted=scores.predicted,
                label_probability=scores.label_probability,
                unfamiliar=scores.unfamiliar,
                similarity=scores.similarity,
            )
        )
    return items


def _read(
    conn: Connection, query: Select[Any], key: Column[int], ids: Sequence[int]
) -> Iterator[Row[Any]]:
    for start in range(0, len(ids), _CHUNK):
        yield from conn.execute(query.where(key.in_(ids[start : start + _CHUNK])))


def _places(ids: Sequence[int], found: Found | None) -> list[int | None]:
    """Where the arrays of the analysis have each example."""
    if found is None or not len(found[1]):
        return [None] * len(ids)
    known_N = found[1].example_id_N
    wanted = np.asarray(ids, np.int64)
    places = np.minimum(np.searchsorted(known_N, wanted), len(known_N) - 1)
    is_known = known_N[places] == wanted
    return [int(place) if known else None for place, known in zip(places, is_known, strict=True)]


def _scores(current: Row[Any] | None, of: AnalysisRow, analysis: Analysis, place: int) -> _Scores:
    predicted = int(analysis.predicted_N[place])
    similarity = _known(analysis.similarity_N[place])
    # A retraction may bring back a label that is older than the analysis, and not the one it saw.
    is_of_label = (
        current is not None
        and current.event_id <= of.snapshot
        and current.label == analysis.names[analysis.label_N[place]]
    )
    return _Scores(
        predicted=analysis.names[predicted] if predicted >= 0 else None,
        label_probability=_known(analysis.label_probability_N[place]) if is_of_label else None,
        unfamiliar=None if similarity is None else bool(analysis.is_unfamiliar_N[place]),
        similarity=similarity,
    )


def _known(value: np.float16) -> float | None:
    return None if math.isnan(value) else float(value)
