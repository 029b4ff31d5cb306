"""What every process watches, many times a second: the promotion that waits, the newest activation,
version and label, and whether there is a run to do."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select

from core import champion
from core.champion import Activation, Promotion
from core.database import Database
from core.runs import UNFINISHED
from core.schema import activations, labels, promotions, runs, versions

_newest_state = select(promotions.c.state).order_by(promotions.c.id.desc()).limit(1)
# Made once: making a statement takes longer than running it.
_TAG = select(
    select(func.max(promotions.c.id)).scalar_subquery(),
    _newest_state.scalar_subquery(),
    select(func.max(activations.c.id)).scalar_subquery(),
    select(func.max(versions.c.number)).scalar_subquery(),
    select(func.max(labels.c.id)).scalar_subquery(),
    exists().where(runs.c.state.in_(UNFINISHED)),
)


@dataclass(frozen=True, slots=True)
class Standing:
    waiting: Promotion | None = None
    newest: Activation | None = None
    newest_version: int | None = None
    # Of a label event; 0 if there is none.
    newest_label: int = 0
    # A run that waits or is under way.
    has_run: bool = False
    # Of what it was read from: equal, nothing has changed since.
    tag: tuple[object, ...] = ()


def read(conn: Connection) -> Standing:
    tag = tuple(conn.execute(_TAG).one())
    *_, newest_version, newest_label, has_run = tag
    return Standing(
        champion.waiting(conn),
        champion.newest_activation(conn),
        newest_version,
        newest_label or 0,
        bool(has_run),
        tag,
    )


def refresh(db: Database, before: Standing) -> Standing:
    """As it is now; `before` itself while nothing has changed since, which one statement tells."""
    if before.tag and db.glance(_TAG) == before.tag:
        return before
    with db.read() as conn:
        return read(conn)
