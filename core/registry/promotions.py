"""The champion: the version that serves, and how another one takes its place.

    promotion (requested)  ->  every live worker loads the version  ->  activation (at a time)

A promotion is a request. An activation is a fact: its table is append-only, and the newest row
names the champion. All workers switch at its time, so no client sees an old version after a new
one. Any process may `advance` the pending promotion, so none of them has to stay alive for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, insert, select, text, update

from core import audit
from core.audit import Actor
from core.errors import PromotionConflict
from core.plain_text import MAX_WHO_CHARACTERS, MAX_WHY_CHARACTERS, check_plain
from core.registry import versions, workers
from core.registry.before import activation_before
from core.registry.workers import Worker
from core.store.database import Database
from core.store.schema import activations, promotions

# Workers poll every 0.1 s, and more often while a promotion is pending (`service/swap/swap.py`).
# Each must see an activation before its time.
ACTIVATION_LEAD_S = 0.3
# The promotion fails if a live worker has not loaded its version by then. A setting may change it.
MAX_WAIT_S = 120.0
# Requests a rollback if labels show that the champion is worse.
SELF_HEALING = "self-healing"
_LOCK_KEY = 7_140_223

# Built once: building a statement takes longer than running it.
NEWEST_PROMOTION = select(promotions).order_by(promotions.c.id.desc()).limit(1)
NEWEST_ACTIVATION = select(activations).order_by(activations.c.id.desc()).limit(1)
_ACTIVATE = insert(activations)
_FINISH = update(promotions).where(
    promotions.c.id == bindparam("promotion_id"), promotions.c.state == "waiting"
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

    @property
    def is_pending(self) -> bool:
        return self.state == "waiting"


@dataclass(frozen=True, slots=True)
class Activation:
    id: int
    version: int
    promotion_id: int
    activate_at: float
    who: str
    why: str
    created_at: float
    # The activation that a rollback from this one returns to; None: there is none.
    before_id: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """What to do about the pending promotion."""

    action: Literal["wait", "activate", "fail"]
    reason: str = ""


def next_step(
    promotion: Promotion, serving: Sequence[Worker], now: float, wait_s: float = MAX_WAIT_S
) -> Step:
    """Decide from what the live workers report. Without any, activate immediately."""
    for worker in serving:
        why = worker.failed.get(promotion.id)
        if why is not None:
            return Step("fail", f"worker {worker.pid} on {worker.host} cannot load it: {why}")
    late = [worker for worker in serving if promotion.version not in worker.ready]
    if not late:
        return Step("activate")
    if abs(now - promotion.created_at) > wait_s:  # the clock may have been set back
        return Step(
            "fail",
            f"{len(late)} of {len(serving)} workers have not loaded it within {wait_s:.0f} s",
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
    by: Actor | None = None,
) -> Promotion:
    """Request that a version becomes champion. It supersedes a promotion that is pending. `by` is
    for the audit: `who`, if it is None.

    Raises UnknownVersion, VersionRetired, InvalidRequest; PromotionConflict if the newest
    activation is not the expected one.
    """
    check_plain("who", who, MAX_WHO_CHARACTERS)
    check_plain("why", why, MAX_WHY_CHARACTERS)
    lock(conn)
    versions.get_kept(conn, version)
    if expected_activation is not None:
        newest = newest_activation(conn)
        tag = newest.id if newest else 0
        if tag != expected_activation:
            raise PromotionConflict(
                f'the champion has changed: its tag is "{tag}", not '
                f'"{expected_activation}"; read /v1/champion and decide again'
            )
    conn.execute(
        update(promotions)
        .where(promotions.c.state == "waiting")
        .values(state="superseded", error=f"replaced by a request for version {version}")
    )
    result = conn.execute(
        insert(promotions).values(
            version=version, state="waiting", who=who, why=why, created_at=now
        )
    )
    key = result.inserted_primary_key
    assert key is not None
    subject = f"version {version}"
    audit.record(conn, by or Actor(who), "promotion.requested", subject, now, promotion=key[0])
    return Promotion(key[0], version, "waiting", who, why, None, now)


def advance(conn: Connection, now: float, wait_s: float = MAX_WAIT_S) -> Activation | None:
    """Activate the pending promotion, or fail it, or let it wait. Returns the activation written.

    Read `now` inside the transaction, after `lock`: the time of the activation counts from it.
    """
    lock(conn)
    promotion = pending(conn)
    if promotion is None:
        return None
    serving = workers.live(conn, now, "serving")
    step = next_step(promotion, serving, now, wait_s)
    if step.action == "wait":
        return None
    if step.action == "fail":
        _finish(conn, promotion.id, "failed", step.reason)
        return None
    newest = newest_activation(conn)
    if newest is not None and 0 < newest.activate_at - now <= ACTIVATION_LEAD_S:
        return None  # a worker that saw only this one would not switch to the newest
    activate_at = now + ACTIVATION_LEAD_S if serving else now
    values = {
        "version": promotion.version,
        "promotion_id": promotion.id,
        "activate_at": activate_at,
        "who": promotion.who,
        "why": promotion.why,
        "created_at": now,
        "before_id": activation_before(conn, promotion.version, newest.id) if newest else None,
    }
    result = conn.execute(_ACTIVATE, values)
    _finish(conn, promotion.id, "activated", None)
    key = result.inserted_primary_key
    assert key is not None
    # A person may promote an older version, too: that is a rollback as well.
    is_back = newest is not None and promotion.version < newest.version
    action = "version.rolled_back" if is_back else "version.promoted"
    detail = {"activation": key[0], "promotion": promotion.id, "before": newest and newest.version}
    by = Actor(promotion.who)
    audit.record(conn, by, action, f"version {promotion.version}", now, **detail)
    return Activation(id=key[0], **values)  # type: ignore[arg-type]


def advance_committed(
    db: Database, clock: Callable[[], float] | None = None, wait_s: float = MAX_WAIT_S
) -> Activation | None:
    """`advance` in a transaction of its own. The WAL is fsynced after the commit: workers must see
    the activation before its time comes."""
    with db.write(durable=False) as conn:
        lock(conn)  # before the clock is read: another process may hold it
        activation = advance(conn, (clock or db.clock)(), wait_s)
    if activation is not None:
        db.fsync_wal()
    return activation


def lock(conn: Connection) -> None:
    """Let one transaction at a time read and advance promotions, or two could miss each other's.

    SQLite has one writer anyway.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _LOCK_KEY})


def pending(conn: Connection) -> Promotion | None:
    """The newest promotion, if it is pending. It has superseded all before it."""
    row = conn.execute(NEWEST_PROMOTION).one_or_none()
    newest = None if row is None else Promotion(*row)
    return newest if newest is not None and newest.is_pending else None


def withdraw(conn: Connection, numbers: Collection[int], why: str) -> None:
    """End the pending promotion, if it is of one of these versions."""
    waiting = pending(conn)
    if waiting is not None and waiting.version in numbers:
        _finish(conn, waiting.id, "failed", why)


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
    """It names the champion, though its time may be a little ahead."""
    row = conn.execute(NEWEST_ACTIVATION).one_or_none()
    return None if row is None else Activation(*row)


def _finish(conn: Connection, promotion_id: int, state: str, error: str | None) -> None:
    conn.execute(_FINISH, {"promotion_id": promotion_id, "state": state, "error": error})
