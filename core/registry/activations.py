"""The history of champions, read from the activations."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select

from core.registry.promotions import Activation
from core.store.schema import activations, versions

# Built once: building a statement takes longer than running it.
_BEFORE_NEWEST = select(activations.c.before_id).order_by(activations.c.id.desc()).limit(1)
_VERSION_BEFORE = select(activations.c.version).where(
    activations.c.id == _BEFORE_NEWEST.scalar_subquery()
)
_NEWEST_LABEL_BEFORE = (
    select(func.coalesce(func.max(versions.c.snapshot), 0))
    .join(activations, activations.c.version == versions.c.number)
    .where(activations.c.id < bindparam("activation_id"))
)

# Far more than any activation is planned ahead.
_MAX_AHEAD_S = 10.0

# A challenger is compared with so many champions before it, and a rollback may go back to them.
WINDOW = 20


def effective_from(activate_at: float, now: float) -> float:
    """When an activation took effect, or will. One that is far ahead was written before the clock
    was set back: it took effect long ago, at 0."""
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


def newest_label_before(conn: Connection, activation_id: int) -> int:
    """The newest label event that any champion before this activation was trained on."""
    snapshot: int = conn.execute(
        _NEWEST_LABEL_BEFORE, {"activation_id": activation_id}
    ).scalar_one()
    return snapshot
