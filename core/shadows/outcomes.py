"""Outcomes: whether the primary answer and the shadow answer to a labelled prediction were right.

Only images without a label at the time of the prediction count, since no version can have trained
on them. Each image counts once, by its current label. An image without a current label does not,
nor does one that is labelled `none of these`: no answer is right about it. Nor does one whose label
came from a change of a class: the versions answered before the class had that name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select

from core.class_names import is_class, is_same
from core.store.schema import labels, predictions, shadow_answers
from core.store.tables.review import label_batches
from core.store.tables.tallies import current_labels

# What a page or a scrape compares: it takes no longer with a million labels.
RECENT_LABELS = 1_000
READ_AGAIN = 100
# Below the limit on the parameters of a statement.
_CHUNK = 500
_EVENTS = select(labels.c.id, labels.c.example_id, labels.c.prediction_id, labels.c.label)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one image. `is_right` is that of the primary answer."""

    is_right: bool
    is_shadow_right: bool
    agrees: bool


@dataclass(frozen=True, slots=True)
class Score:
    labelled: int
    shadow_right: int
    champion_right: int


class RunningOutcomes:
    """The outcomes of a champion's predictions, kept up to date: an update reads what was labelled
    since the update before it."""

    def __init__(self, shadow: int, *, after: int, champion: int, since: float) -> None:
        """Of predictions from the time `since` on, labelled after the event `after`."""
        self._shadow, self._after, self._champion, self._since = shadow, after, champion, since
        self._seen = after
        self._by_example: dict[int, Outcome] = {}
        self.counts: Counter[Outcome] = Counter()

    def update(self, conn: Connection) -> None:
        newest = conn.execute(select(func.max(labels.c.id))).scalar_one() or 0
        # A shadow's answer may be written a moment after the label.
        after = max(self._after, self._seen - READ_AGAIN)
        changed = select(labels.c.example_id).where(labels.c.id > after)
        # With DISTINCT, SQLite would scan the index of examples.
        ids = list(set(conn.execute(changed).scalars()))
        for start in range(0, len(ids), _CHUNK):
            examples = ids[start : start + _CHUNK]
            self.counts.subtract(
                self._by_example.pop(each) for each in examples if each in self._by_example
            )
            found = _by_example(
                conn,
                self._shadow,
                _EVENTS.where(labels.c.id > self._after, labels.c.example_id.in_(examples)),
                champion=self._champion,
                since=self._since,
            )
            self._by_example.update(found)
            self.counts.update(found.values())
        self._seen = newest


def recent(
    conn: Connection, shadow: int, *, after: int, champion: int | None = None
) -> list[Outcome]:
    """Return the outcomes of the predictions that were labelled last, in order: those of the last
    `RECENT_LABELS` labels of predictions, after the event `after`."""
    last = _EVENTS.where(labels.c.prediction_id.is_not(None), labels.c.id > after)
    last = last.order_by(labels.c.id.desc()).limit(RECENT_LABELS)
    return list(_by_example(conn, shadow, last, champion=champion).values())


def _by_example(
    conn: Connection,
    shadow: int,
    events: Select[Any],
    *,
    champion: int | None = None,
    since: float = 0.0,
) -> dict[int, Outcome]:
    """Of these label events, and of predictions of the champion."""
    given = events.subquery("given")
    earlier = labels.alias("earlier")
    was_labelled = exists().where(
        earlier.c.example_id == given.c.example_id,
        earlier.c.label.is_not(None),
        earlier.c.created_at < predictions.c.created_at,
    )
    query = (
        select(
            given.c.example_id,
            predictions.c.label,
            shadow_answers.c.label,
            current_labels.c.label,
        )
        .join(predictions, predictions.c.id == given.c.prediction_id)
        .join(shadow_answers, shadow_answers.c.prediction_id == predictions.c.id)
        .join(current_labels, current_labels.c.example_id == given.c.example_id)
        .where(
            given.c.label.is_not(None),
            ~_came_from_a_change_of_class(current_labels.c.event_id),
            shadow_answers.c.version == shadow,
            predictions.c.created_at >= since,
            ~_is_retracted(given.c.id),
            ~was_labelled,
        )
        .order_by(given.c.id)
    )
    if champion is not None:
        query = query.where(predictions.c.version == champion)
    by_example: dict[int, Outcome] = {}
    for example_id, primary, shadow_label, label in conn.execute(query):
        if not is_class(label):
            continue
        outcome = Outcome(
            is_same(primary, label), is_same(shadow_label, label), is_same(primary, shadow_label)
        )
        by_example.setdefault(example_id, outcome)
    return by_example


def score(counts: Counter[Outcome]) -> Score:
    return Score(
        labelled=counts.total(),
        shadow_right=sum(num for each, num in counts.items() if each.is_shadow_right),
        champion_right=sum(num for each, num in counts.items() if each.is_right),
    )


def _is_retracted(event_id: ColumnElement[int]) -> ColumnElement[bool]:
    retraction = labels.alias("retraction")
    return exists().where(retraction.c.retracts == event_id)


def _came_from_a_change_of_class(event_id: ColumnElement[int]) -> ColumnElement[bool]:
    event = labels.alias("event")
    return exists().where(
        event.c.id == event_id,
        label_batches.c.id == event.c.batch_id,
        label_batches.c.kind.in_(("rename", "merge")),
    )
