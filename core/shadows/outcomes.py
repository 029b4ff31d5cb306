"""Outcomes: of a prediction that a label came back for, who was right, aloud and silently.

Counts only images that had no label yet when they were predicted on: no version that answered can
have been trained on them. Each image counts once, and by the label that holds now: one that was
changed counts as changed, one that was taken back not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, exists, func, select

from core.store.schema import labels, predictions, shadow_answers


@dataclass(frozen=True, slots=True)
class Outcome:
    """One image. `is_right` is of the version that answered aloud."""

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
    """Where labels newer than one tell who was right, in the order in which the labels came.

    `champion` and `since` ask for predictions of one version, from a moment on.
    """
    given, standing, other, earlier = (
        labels.alias(name) for name in ("given", "standing", "other", "earlier")
    )
    newest = (
        select(func.max(other.c.id))
        .where(
            other.c.example_id == given.c.example_id,
            other.c.label.is_not(None),
            ~_is_taken_back(other.c.id),
        )
        .scalar_subquery()
    )
    was_labelled = exists().where(
        earlier.c.example_id == given.c.example_id,
        earlier.c.label.is_not(None),
        earlier.c.created_at < predictions.c.created_at,
    )
    query = (
        select(given.c.example_id, predictions.c.label, shadow_answers.c.label, standing.c.label)
        .join(predictions, predictions.c.id == given.c.prediction_id)
        .join(shadow_answers, shadow_answers.c.prediction_id == predictions.c.id)
        .join(standing, standing.c.id == newest)
        .where(
            given.c.id > after,
            given.c.label.is_not(None),
            shadow_answers.c.version == shadow,
            predictions.c.created_at >= since,
            ~_is_taken_back(given.c.id),
            ~was_labelled,
        )
        .order_by(given.c.id)
    )
    if champion is not None:
        query = query.where(predictions.c.version == champion)
    found: dict[int, Outcome] = {}
    for example_id, aloud, silent, label in conn.execute(query):
        found.setdefault(example_id, Outcome(aloud == label, silent == label, aloud == silent))
    return list(found.values())


def score(outcomes: Sequence[Outcome]) -> Score:
    return Score(
        labelled=len(outcomes),
        shadow_right=sum(outcome.is_shadow_right for outcome in outcomes),
        champion_right=sum(outcome.is_right for outcome in outcomes),
    )


def _is_taken_back(event_id: ColumnElement[int]) -> ColumnElement[bool]:
    retraction = labels.alias("retraction")
    return exists().where(retraction.c.retracts == event_id)
