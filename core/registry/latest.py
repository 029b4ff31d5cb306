"""What every process watches, many times a second: the promotion that waits, the newest activation,
version and label, and how many runs there are to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ScalarSelect, func, literal, select, true

from core.registry import promotions
from core.registry.promotions import Activation, Promotion
from core.store.database import Database
from core.store.schema import labels, runs, versions


def _num_runs(state: str) -> ScalarSelect[int]:
    return select(func.count()).select_from(runs).where(runs.c.state == state).scalar_subquery()


_PROMOTION = promotions.NEWEST_PROMOTION.subquery("promotion")
_ACTIVATION = promotions.NEWEST_ACTIVATION.subquery("activation")
_ALWAYS = select(literal(1)).subquery("always")
# All of it in one row. Made once: making a statement takes longer than running it.
QUERY = select(
    *_PROMOTION.c,
    *_ACTIVATION.c,
    select(func.max(versions.c.number)).scalar_subquery(),
    select(func.coalesce(func.max(labels.c.id), 0)).scalar_subquery(),
    _num_runs("waiting"),
    _num_runs("running"),
).select_from(_ALWAYS.outerjoin(_PROMOTION, true()).outerjoin(_ACTIVATION, true()))
_NUM_PROMOTION = len(_PROMOTION.c)


@dataclass(frozen=True, slots=True)
class Latest:
    pending: Promotion | None = None
    activation: Activation | None = None
    newest_version: int | None = None
    # Of a label event; 0 if there is none.
    newest_label: int = 0
    num_runs_waiting: int = 0
    num_runs_running: int = 0
    # What it was made from: equal, nothing has changed since.
    row: tuple[Any, ...] = ()

    @property
    def work(self) -> tuple[int, int, int]:
        """Where this has changed, there may be something for a trainer to do."""
        return self.newest_label, self.num_runs_waiting, self.num_runs_running


def poll(db: Database, before: Latest) -> Latest:
    """As it is now; `before` itself while nothing has changed since."""
    row = db.fetch_row(QUERY)
    return before if row == before.row else _of(row)


def _of(row: tuple[Any, ...]) -> Latest:
    *both, newest_version, newest_label, num_waiting, num_running = row
    of_promotion, of_activation = both[:_NUM_PROMOTION], both[_NUM_PROMOTION:]
    return Latest(
        None if of_promotion[0] is None else promotions.if_waiting(Promotion(*of_promotion)),
        None if of_activation[0] is None else Activation(*of_activation),
        newest_version,
        newest_label,
        num_waiting,
        num_running,
        row,
    )
