"""The lease to sweep: one process at a time, so that two do not do the work of one."""

from __future__ import annotations

from sqlalchemy import Connection, insert, or_, select, update

from core.store.tables.retention import sweep_lease

LEASE_S = 30.0
_ROW = 1


def acquire(conn: Connection, owner: str, now: float) -> bool:
    """Take or renew the lease. False while another owner has it."""
    is_free = or_(
        sweep_lease.c.owner == owner,
        sweep_lease.c.expires_at <= now,
        # It was renewed before the clock was set back.
        sweep_lease.c.expires_at > now + 2 * LEASE_S,
    )
    values = {"owner": owner, "expires_at": now + LEASE_S}
    if conn.execute(update(sweep_lease).where(is_free).values(values)).rowcount == 1:
        return True
    if conn.execute(select(sweep_lease.c.id)).first() is not None:
        return False
    conn.execute(insert(sweep_lease).values(id=_ROW, **values))
    return True


def release(conn: Connection, owner: str) -> None:
    mine = sweep_lease.c.owner == owner
    conn.execute(update(sweep_lease).where(mine).values(expires_at=0.0))
