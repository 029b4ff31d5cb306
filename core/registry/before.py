"""What was before a champion: where a rollback from a version that is promoted now returns to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, bindparam, literal, select

from core.store.schema import activations

# A walk back through more champions than these would hold the lock of the swap too long.
MAX_STEPS = 1_000


def _select_walk() -> Select[Any]:
    """Walk from the newest activation back through those before it, to the first of the version.
    Selects where the walk ended, and what was before that."""
    columns = (activations.c.id, activations.c.version, activations.c.before_id)
    newest = select(*columns, literal(1).label("step"))
    chain = newest.where(activations.c.id == bindparam("newest")).cte(recursive=True)
    further = select(*columns, chain.c.step + 1).join(chain, activations.c.id == chain.c.before_id)
    chain = chain.union_all(further.where(chain.c.step < MAX_STEPS))
    is_end = (chain.c.version == bindparam("version")) | (chain.c.step == MAX_STEPS)
    return select(chain.c.version, chain.c.before_id).where(is_end).limit(1)


# Built once: building a statement takes longer than running it.
_WALK = _select_walk()
_NEWEST_OF = (
    select(activations.c.before_id)
    .where(activations.c.version == bindparam("version"))
    .order_by(activations.c.id.desc())
    .limit(1)
)


def activation_before(conn: Connection, version: int, newest_id: int) -> int | None:
    """Return the activation that a rollback from this version would return to; None: there is none.

    It is the newest one. If the version was champion before, it is what was before it then. Of more
    than `MAX_STEPS` champions ago, it is what was before the version's own newest activation.
    """
    newest_of = conn.execute(_NEWEST_OF, {"version": version}).one_or_none()
    if newest_of is None:
        return newest_id
    walk = conn.execute(_WALK, {"newest": newest_id, "version": version}).one_or_none()
    if walk is None:
        return newest_id
    before_id: int | None = walk.before_id if walk.version == version else newest_of.before_id
    return before_id
