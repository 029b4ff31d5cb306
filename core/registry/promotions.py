"""The champion: which version answers, and how it changes hands.

    promotion (wanted)  ->  every live worker loads it and says `ready`  ->  activation (at a time)

A promotion is a wish; an activation is a fact, append-only, and the newest is the truth. All
workers switch at the moment it names, so no client sees an old version after a new one. Whoever
looks first moves a promotion on (`advance`): no one process has to live for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, bindparam, insert, select, text, update

from core.errors import PromotionConflict
from core.plain_text import MAX_WHO_CHARACTERS, MAX_WHY_CHARACTERS, check_plain
from core.registry import versions, workers
from core.registry.workers import Worker
from core.store.database import Database
from core.store.schema import activations, promotions

# Workers look every 0.1 s (`service/swap/swap.py`); each must have seen an activation before its
# time.
ACTIVATION_LEAD_S = 0.4
# A worker that lives but does not get a version loaded for so long blocks it no longer: it fails.
MAX_WAIT_S = 120.0
# Who asks for a rollback where labels show that the champion is worse.
SELF_HEALING = "self-healing"
_MOVE_LOCK = 7_140_223


def _before_it() -> Select[Any]:
    """What was before a version when it was activated, on the way back from the newest."""
    columns = (activations.c.id, activations.c.version, activations.c.before_id)
    way = select(*columns).where(activations.c.id == bindparam("newest")).cte(recursive=True)
    way = way.union_all(select(*columns).join(way, activations.c.id == way.c.before_id))
    return select(way.c.before_id).where(way.c.version == bindparam("version")).limit(1)


# Made once: making a statement takes longer than running it.
NEWEST_PROMOTION = select(promotions).order_by(promotions.c.id.desc()).limit(1)
NEWEST_ACTIVATION = select(activations).order_by(activations.c.id.desc()).limit(1)
_WAS_CHAMPION = select(activations.c.id).where(activations.c.version == bindparam("version"))
_WAS_CHAMPION = _WAS_CHAMPION.limit(1)
_BEFORE_IT = _before_it()
_ACTIVATE = insert(activations)
_FINISH = update(promotions).where(
    promotions.c.id == bindparam("of"), promotions.c.state == "waiting"
)


@dataclass(frozen=True, slots=True)
class Promotion:
    id: int
    version: int
    state: str
    who: str
    why: str
    error: str | None
    created_at: float


@dataclass(frozen=True, slots=True)
class Activation:
    id: int
    version: int
    promotion_id: int
    activate_at: float
    who: str
    why: str
    created_at: float
    # Of the activation that a rollback from this one goes back to; None: there is none.
    before_id: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """What to do about a waiting promotion."""

    action: Literal["wait", "activate", "fail"]
    reason: str = ""


def next_step(promotion: Promotion, serving: Sequence[Worker], now: float) -> Step:
    """Decide from who is ready. With no worker alive there is nobody to wait for."""
    for worker in serving:
        why = worker.failed.get(promotion.id)
        if why is not None:
            return Step("fail", f"worker {worker.pid} on {worker.host} cannot load it: {why}")
    late = [worker for worker in serving if promotion.version not in worker.ready]
    if not late:
        return Step("activate")
    if now - promotion.created_at > MAX_WAIT_S:
        return Step(
            "fail",
            f"{len(late)} of {len(serving)} workers have not loaded it within {MAX_WAIT_S:.0f} s",
        )
    return Step("wait")


def request(
    conn: Connection,
    version: int,
    *,
    who: str,
    why: str,
    now: float,
    expected_activation: int | None = None,
) -> Promotion:
    """Wish for a version to become champion. A newer wish replaces one that still waits.

    Raises UnknownVersion, InvalidRequest; PromotionConflict if the newest activation is not the
    expected one.
    """
    check_plain("who", who, MAX_WHO_CHARACTERS)
    check_plain("why", why, MAX_WHY_CHARACTERS)
    versions.get(conn, version)
    lock(conn)
    if expected_activation is not None:
        newest = newest_activation(conn)
        found = newest.id if newest else 0
        if found != expected_activation:
            raise PromotionConflict(
                f'the champion has changed: its tag is "{found}", not '
                f'"{expected_activation}"; read /v1/champion and decide again'
            )
    conn.execute(
        update(promotions)
        .where(promotions.c.state == "waiting")
        .values(state="superseded", error=f"replaced by a wish for version {version}")
    )
    result = conn.execute(
        insert(promotions).values(
            version=version, state="waiting", who=who, why=why, created_at=now
        )
    )
    key = result.inserted_primary_key
    assert key is not None
    return Promotion(key[0], version, "waiting", who, why, None, now)


def advance(conn: Connection, now: float) -> Activation | None:
    """Move the waiting promotion on, if there is one; returns the activation that this wrote.

    `now` is read in the transaction, not before: from it counts the moment of the activation, and
    by then every worker must have seen that.
    """
    lock(conn)
    promotion = pending(conn)
    if promotion is None:
        return None
    serving = workers.live(conn, now, "serving")
    step = next_step(promotion, serving, now)
    if step.action == "wait":
        return None
    if step.action == "fail":
        _finish(conn, promotion.id, "failed", step.reason)
        return None
    activate_at = now + ACTIVATION_LEAD_S if serving else now
    values = {
        "version": promotion.version,
        "promotion_id": promotion.id,
        "activate_at": activate_at,
        "who": promotion.who,
        "why": promotion.why,
        "created_at": now,
        "before_id": _before(conn, promotion.version),
    }
    result = conn.execute(_ACTIVATE, values)
    _finish(conn, promotion.id, "activated", None)
    key = result.inserted_primary_key
    assert key is not None
    return Activation(id=key[0], **values)  # type: ignore[arg-type]


def advance_committed(db: Database, clock: Callable[[], float] = time.time) -> Activation | None:
    """`advance` in a transaction of its own. The WAL is fsynced after the commit: workers must see
    the activation before its time comes."""
    with db.write(durable=False) as conn:
        lock(conn)  # before the clock is read: another process may hold it
        activation = advance(conn, clock())
    if activation is not None:
        db.fsync_wal()
    return activation


def lock(conn: Connection) -> None:
    """One at a time looks at promotions and moves them on, or two would each miss the other's.

    SQLite has one writer anyway.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MOVE_LOCK})


def pending(conn: Connection) -> Promotion | None:
    """The newest, if it waits: it has replaced all before it."""
    row = conn.execute(NEWEST_PROMOTION).one_or_none()
    return None if row is None else if_waiting(Promotion(*row))


def if_waiting(newest: Promotion) -> Promotion | None:
    return newest if newest.state == "waiting" else None


def promotion(conn: Connection, promotion_id: int) -> Promotion:
    return Promotion(*conn.execute(select(promotions).where(promotions.c.id == promotion_id)).one())


def newest_promotion_of(conn: Connection, version: int) -> Promotion | None:
    row = conn.execute(
        select(promotions)
        .where(promotions.c.version == version)
        .order_by(promotions.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Promotion(*row)


def newest_activation(conn: Connection) -> Activation | None:
    """The truth, though its moment may lie a little ahead."""
    row = conn.execute(NEWEST_ACTIVATION).one_or_none()
    return None if row is None else Activation(*row)


def _before(conn: Connection, version: int) -> int | None:
    """What is before the version once it is activated: the newest; but before one that is returned
    to, what was before it then."""
    newest = newest_activation(conn)
    if newest is None:
        return None
    if conn.execute(_WAS_CHAMPION, {"version": version}).scalar() is None:
        return newest.id
    found = conn.execute(_BEFORE_IT, {"newest": newest.id, "version": version}).one_or_none()
    return newest.id if found is None else found[0]


def _finish(conn: Connection, promotion_id: int, state: str, error: str | None) -> None:
    conn.execute(_FINISH, {"of": promotion_id, "state": state, "error": error})
