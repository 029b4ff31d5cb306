"""What every process watches, many times a second: the promotion that waits, the newest activation,
version and label, and whether there is a run to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, func, literal, select, true

from core import champion
from core.champion import Activation, Promotion
from core.database import Database
from core.runs import UNFINISHED
from core.schema import labels, runs, versions

_PROMOTION = champion.NEWEST_PROMOTION.subquery("promotion")
_ACTIVATION = champion.NEWEST_ACTIVATION.subquery("activation")
_ALWAYS = select(literal(1)).subquery("always")
# All of it in one row. Made once: making a statement takes longer than running it.
QUERY = select(
    *_PROMOTION.c,
    *_ACTIVATION.c,
    select(func.max(versions.c.number)).scalar_subquery(),
    select(func.coalesce(func.max(labels.c.id), 0)).scalar_subquery(),
    exists().where(runs.c.state.in_(UNFINISHED)),
).select_from(_ALWAYS.outerjoin(_PROMOTION, true()).outerjoin(_ACTIVATION, true()))
_NUM_PROMOTION = len(_PROMOTION.c)


@dataclass(frozen=True, slots=True)
class Standing:
    waiting: Promotion | None = None
    newest: Activation | None = None
    newest_version: int | None = None
    # Of a label event; 0 if there is none.
    newest_label: int = 0
    # A run that waits or is under way.
    has_run: bool = False
    # What it was made from: equal, nothing has changed since.
    row: tuple[Any, ...] = ()


def refresh(db: Database, before: Standing) -> Standing:
    """As it is now; `before` itself while nothing has changed since."""
    row = db.glance(QUERY)
    return before if row == before.row else _of(row)


def _of(row: tuple[Any, ...]) -> Standing:
    *both, newest_version, newest_label, has_run = row
    of_promotion, of_activation = both[:_NUM_PROMOTION], both[_NUM_PROMOTION:]
    return Standing(
        None if of_promotion[0] is None else champion.if_waiting(Promotion(*of_promotion)),
        None if of_activation[0] is None else Activation(*of_activation),
        newest_version,
        newest_label,
        bool(has_run),
        row,
    )
