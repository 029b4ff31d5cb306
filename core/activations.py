"""The champions so far: what the activations tell, newest last."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from core.champion import Activation
from core.schema import activations, versions


def history(conn: Connection, limit: int) -> list[Activation]:
    """Newest first."""
    rows = conn.execute(select(activations).order_by(activations.c.id.desc()).limit(limit))
    return [Activation(*row) for row in rows]


def count_since(conn: Connection, moment: float) -> int:
    """How often the champion has changed since."""
    query = select(func.count()).select_from(activations).where(activations.c.created_at >= moment)
    return int(conn.execute(query).scalar_one())


def count_by(conn: Connection, who: str) -> int:
    """How many changes of champion someone has asked for."""
    query = select(func.count()).select_from(activations).where(activations.c.who == who)
    return int(conn.execute(query).scalar_one())


def version_before(conn: Connection) -> int | None:
    """Where a rollback goes: the champion before this one, in the order of activations.

    A rollback of a rollback goes further back, never forth: what it left is not returned to.
    """
    rows = [a.version for a in reversed(history(conn, 10_000))]
    stack: list[int] = []
    for version in rows:
        if version in stack:
            del stack[stack.index(version) :]
        stack.append(version)
    return stack[-2] if len(stack) > 1 else None


def seen_before(conn: Connection, activation_id: int) -> int:
    """The newest label event that any champion before this activation was trained on."""
    snapshot: int = conn.execute(
        select(func.coalesce(func.max(versions.c.snapshot), 0))
        .join(activations, activations.c.version == versions.c.number)
        .where(activations.c.id < activation_id)
    ).scalar_one()
    return snapshot
