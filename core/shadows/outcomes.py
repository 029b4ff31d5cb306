"""Outcomes: whether the primary answer and the shadow answer to a labelled prediction were right.

Only images without a label at the time of the prediction count, since no version can have trained
on them. Each image counts once, by its current label. An image without a current label does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, exists, func, select

from core.class_names import is_same
from core.store.schema import labels, predictions, shadow_answers


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


def paired(
    conn: Connection,
    shadow: int,
    *,
    after: int,
    champion: int | None = None,
    since: float = 0.0,
) -> list[Outcome]:
    """Return the outcomes of predictions that were labelled after the event `after`, in order.

    `champion` and `since` restrict them to predictions of one version, from a time on.
    """
    given, current, other, earlier = (
        labels.alias(name) for name in ("given", "current", "other", "earlier")
    )
    newest = (
        select(func.max(other.c.id))
        .where(
            other.c.example_id == given.c.example_id,
            other.c.label.is_not(None),
            ~_is_retracted(other.c.id),
        )
        .scalar_subquery()
    )
    was_labelled = exists().where(
        earlier.c.example_id == given.c.example_id,
        earlier.c.label.is_not(None),
        earlier.c.created_at < predictions.c.created_at,
    )
    query = (
        select(given.c.example_id, predictions.c.label, shadow_answers.c.label, current.c.label)
        .join(predictions, predictions.c.id == given.c.prediction_id)
        .join(shadow_answers, shadow_answers.c.prediction_id == predictions.c.id)
        .join(current, current.c.id == newest)
        .where(
            given.c.id > after,
            given.c.label.is_not(None),
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
        outcome = Outcome(
            is_same(primary, label), is_same(shadow_label, label), is_same(primary, shadow_label)
        )
        by_example.setdefault(example_id, outcome)
    return list(by_example.values())


def score(outcomes: Sequence[Outcome]) -> Score:
    return Score(
        labelled=len(outcomes),
        shadow_right=sum(outcome.is_shadow_right for outcome in outcomes),
        champion_right=sum(outcome.is_right for outcome in outcomes),
    )


def _is_retracted(event_id: ColumnElement[int]) -> ColumnElement[bool]:
    retraction = labels.alias("retraction")
    return exists().where(retraction.c.retracts == event_id)
