"""What every process polls many times a second: the pending promotion, the newest activation,
version and label, and the number of unfinished runs."""

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
# All of it in one row. Built once: building a statement takes longer than running it.
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
    # The id of a label event; 0: none.
    newest_label: int = 0
    num_runs_waiting: int = 0
    num_runs_running: int = 0
    # As it was read. An equal row means that nothing has changed.
    row: tuple[Any, ...] = ()

    @property
    def work(self) -> tuple[int, int, int]:
        """Once this changes, a trainer may have something to do."""
        return self.newest_label, self.num_runs_waiting, self.num_runs_running

    @property
    def has_unfinished_runs(self) -> bool:
        return self.num_runs_waiting + self.num_runs_running > 0


class LatestPoller:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._latest = Latest()
        # Of the database, when that was read; None: unknown.
        self._mark: tuple[int, int] | None = None

    @property
    def mark(self) -> tuple[int, int] | None:
        """That of the last poll. Equal to an earlier one if nothing at all was committed since."""
        return self._mark

    def poll(self, *, is_certain: bool = False) -> Latest:
        """Returns the same object while nothing has changed. Raises StoreError.

        With `is_certain`, it has seen all that was committed before this call. Otherwise it may
        miss what PostgreSQL has committed in the last milliseconds.
        """
        mark = self._db.commit_mark()  # before the query, so that no commit falls in between
        is_late = is_certain and not self._db.is_sqlite
        if mark is None or mark != self._mark or is_late:
            row = self._db.fetch_row(QUERY)
            if row != self._latest.row:
                self._latest = _from_row(row)
            self._mark = mark
        return self._latest


def _from_row(row: tuple[Any, ...]) -> Latest:
    *columns, newest_version, newest_label, num_waiting, num_running = row
    promotion_columns, activation_columns = columns[:_NUM_PROMOTION], columns[_NUM_PROMOTION:]
    promotion = None if promotion_columns[0] is None else Promotion(*promotion_columns)
    return Latest(
        promotion if promotion is not None and promotion.is_pending else None,
        None if activation_columns[0] is None else Activation(*activation_columns),
        newest_version,
        newest_label,
        num_waiting,
        num_running,
        row,
    )
