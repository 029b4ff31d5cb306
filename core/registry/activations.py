"""The history of champions, read from the activations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, bindparam, exists, func, literal, select

from core.registry.promotions import Activation
from core.store.schema import activations, versions


def _select_chain() -> Select[Any]:
    """Walk from the newest activation back through so many before it."""
    columns = (activations.c.id, activations.c.version, activations.c.before_id)
    newest = select(func.max(activations.c.id)).scalar_subquery()
    first = select(*columns, literal(1).label("step")).where(activations.c.id == newest)
    chain = first.cte(recursive=True)
    further = select(*columns, chain.c.step + 1).join(chain, activations.c.id == chain.c.before_id)
    chain = chain.union_all(further.where(chain.c.step < bindparam("limit")))
    return select(chain.c.version).order_by(chain.c.step)


# Built once: building a statement takes longer than running it.
_BEFORE_NEWEST = select(activations.c.before_id).order_by(activations.c.id.desc()).limit(1)
_VERSION_BEFORE = select(activations.c.version).where(
    activations.c.id == _BEFORE_NEWEST.scalar_subquery()
)
_WAS_CHAMPION = exists().where(
    activations.c.version == versions.c.number, activations.c.id < bindparam("activation_id")
)
_CHAIN = _select_chain()
# From the newest snapshot down: a version or two were held back, and the next was champion.
_NEWEST_LABEL_BEFORE = (
    select(versions.c.snapshot).where(_WAS_CHAMPION).order_by(versions.c.snapshot.desc()).limit(1)
)

# More than any activation is planned ahead.
_MAX_AHEAD_S = 2.0

# A challenger is compared with so many champions before it, and a rollback may go back to them.
WINDOW = 20


def effective_from(activate_at: float, now: float) -> float:
    """When an activation took effect, or will. One that is far ahead was written before the
    database's clock was set back: it took effect long ago, at 0."""
    return activate_at if activate_at <= now + _MAX_AHEAD_S else 0.0


def history(conn: Connection, limit: int) -> list[Activation]:
    """Newest first."""
    rows = conn.execute(select(activations).order_by(activations.c.id.desc()).limit(limit))
    return [Activation(*row) for row in rows]


def recent_champions(conn: Connection) -> list[int]:
    """The champion and the WINDOW champions before it, newest first."""
    numbers = dict.fromkeys(activation.version for activation in history(conn, 10 * WINDOW))
    return list(numbers)[: WINDOW + 1]


def by_promotion(conn: Connection, promotion_id: int) -> Activation | None:
    """None if the promotion has not been activated."""
    query = select(activations).where(activations.c.promotion_id == promotion_id)
    row = conn.execute(query).one_or_none()
    return None if row is None else Activation(*row)


def count_since(conn: Connection, moment: float) -> int:
    """How often the champion has changed since."""
    query = select(func.count()).select_from(activations).where(activations.c.created_at >= moment)
    return int(conn.execute(query).scalar_one())


def count_by(conn: Connection, who: str) -> int:
    """How many changes of champion someone has requested."""
    query = select(func.count()).select_from(activations).where(activations.c.who == who)
    return int(conn.execute(query).scalar_one())


def version_before(conn: Connection) -> int | None:
    """The version that a rollback returns to: the champion before this one.

    A second rollback goes further back, never forth to the version that the first one left.
    """
    version: int | None = conn.execute(_VERSION_BEFORE).scalar()
    return version


def versions_before(conn: Connection, limit: int) -> list[int]:
    """The versions that rollbacks would return to, one after the other, the nearest first."""
    rows = conn.execute(_CHAIN, {"limit": limit + 1}).scalars().all()
    return list(dict.fromkeys(rows[1:]))


def newest_label_before(conn: Connection, activation_id: int) -> int:
    """The newest label event that any champion before this activation was trained on."""
    snapshot = conn.execute(_NEWEST_LABEL_BEFORE, {"activation_id": activation_id}).scalar()
    return int(snapshot or 0)
