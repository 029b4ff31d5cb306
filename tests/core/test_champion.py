from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from core import activations, champion, workers
from core.champion import LEAD_S, MAX_WAIT_S, Activation, Promotion, next_step
from core.database import Database
from core.errors import InvalidRequest, PromotionConflict, UnknownVersion
from core.store import Store
from core.workers import DEAD_AFTER_S, HEARTBEAT_S, Worker, this_host
from tests import tiny
from tests.at_once import in_threads, overtaking

NOW = 1_700_000_000.0
_ids = itertools.count(1)


@pytest.fixture
def db(store: Store) -> Database:
    """With versions 1 to 4."""
    for _ in range(4):
        tiny.publish(store)
    return store.db


def worker(
    ready: Sequence[int] = (),
    failed: dict[int, str] | None = None,
    *,
    host: str = "elsewhere",
    pid: int = 1,
    last_seen: float = NOW,
) -> Worker:
    return Worker(
        id=f"worker-{next(_ids)}",
        role="serving",
        host=host,
        pid=pid,
        provider="CPUExecutionProvider",
        version=1,
        ready=tuple(ready),
        failed=failed or {},
        started_at=NOW - 60,
        last_seen=last_seen,
    )


def serve(db: Database, *serving: Worker) -> None:
    with db.write() as conn:
        for one in serving:
            workers.report(conn, one)


def wish(db: Database, version: int, now: float = NOW, expected: int | None = None) -> Promotion:
    with db.write() as conn:
        return champion.request(
            conn, version, who="ann", why="better", now=now, expected_activation=expected
        )


def advance(db: Database, now: float = NOW) -> Activation | None:
    with db.write() as conn:
        return champion.advance(conn, now)


def state(db: Database, promotion: Promotion) -> str:
    with db.read() as conn:
        return champion.promotion(conn, promotion.id).state


def activated(db: Database) -> list[int]:
    """The versions, oldest first."""
    with db.read() as conn:
        return [each.version for each in reversed(activations.history(conn, 100))]


WANTED = Promotion(5, 2, "waiting", "ann", "better", None, NOW)
READY = worker([1, 2])
LATE = worker([1])
BROKEN = worker([1], {5: "checksum-mismatch"})
BROKEN_BEFORE = worker([1, 2], {4: "checksum-mismatch"})


@pytest.mark.parametrize(
    ("serving", "waited_s", "action"),
    [
        ([], 0, "activate"),
        ([], MAX_WAIT_S + 1, "activate"),
        ([READY], 0, "activate"),
        ([READY, READY], 0, "activate"),
        ([READY, READY], MAX_WAIT_S + 1, "activate"),
        ([LATE], 0, "wait"),
        ([READY, LATE], 0, "wait"),
        ([READY, LATE], MAX_WAIT_S, "wait"),
        ([READY, LATE], MAX_WAIT_S + 1, "fail"),
        ([BROKEN], 0, "fail"),
        ([READY, BROKEN], 0, "fail"),
        ([LATE, BROKEN], 0, "fail"),
        ([BROKEN_BEFORE], 0, "activate"),
        ([BROKEN_BEFORE, LATE], 0, "wait"),
    ],
)
def test_next_step_follows_from_who_is_ready(
    serving: list[Worker], waited_s: float, action: str
) -> None:
    assert next_step(WANTED, serving, NOW + waited_s).action == action


def test_failed_step_says_who_and_why() -> None:
    assert next_step(WANTED, [BROKEN], NOW).reason == (
        "worker 1 on elsewhere cannot load it: checksum-mismatch"
    )
    assert "1 of 2 workers have not loaded it within 120 s" in (
        next_step(WANTED, [READY, LATE], NOW + MAX_WAIT_S + 1).reason
    )


def test_lead_lets_every_worker_see_an_activation_first() -> None:
    # Workers look every 0.1 s; a slow tick may miss one look or two.
    assert LEAD_S >= 3 * 0.1


def test_without_workers_a_wish_takes_effect_at_once(db: Database) -> None:
    promotion = wish(db, 2)
    activation = advance(db)
    assert activation is not None
    assert (activation.version, activation.promotion_id) == (2, promotion.id)
    assert activation.activate_at == NOW
    assert (activation.who, activation.why) == ("ann", "better")
    assert state(db, promotion) == "activated"
    with db.read() as conn:
        assert champion.newest_activation(conn) == activation
        assert champion.waiting(conn) is None


def test_with_workers_it_takes_effect_a_moment_ahead(db: Database) -> None:
    serve(db, worker([1, 2]), worker([1, 2]))
    wish(db, 2)
    activation = advance(db)
    assert activation is not None
    assert activation.activate_at == NOW + LEAD_S


def test_wish_waits_for_the_last_worker(db: Database) -> None:
    late = worker([1])
    serve(db, worker([1, 2]), late)
    promotion = wish(db, 2)
    assert advance(db) is None
    assert state(db, promotion) == "waiting"
    serve(db, Worker(**{**_fields(late), "ready": (1, 2)}))
    assert advance(db) is not None
    assert state(db, promotion) == "activated"


def test_worker_that_cannot_load_fails_the_wish_and_moves_nothing(db: Database) -> None:
    tiny_champion = wish(db, 1)
    advance(db)
    promotion = wish(db, 2)
    serve(db, worker([1, 2]), worker([1], {promotion.id: "no space"}))
    assert advance(db) is None
    assert state(db, promotion) == "failed"
    assert state(db, tiny_champion) == "activated"
    assert activated(db) == [1]
    with db.read() as conn:
        assert "no space" in str(champion.promotion(conn, promotion.id).error)


def test_failed_wish_may_be_wished_again(db: Database) -> None:
    promotion = wish(db, 2)
    broken = worker([1], {promotion.id: "no space"})
    serve(db, broken)
    advance(db)
    again = wish(db, 2)
    assert advance(db) is None
    serve(db, Worker(**{**_fields(broken), "ready": (1, 2)}))
    assert advance(db) is not None
    assert (state(db, promotion), state(db, again)) == ("failed", "activated")
    with db.read() as conn:
        assert champion.newest_promotion_of(conn, 2) == champion.promotion(conn, again.id)


def test_worker_that_went_silent_does_not_hold_it_up(db: Database) -> None:
    serve(db, worker([1, 2]), worker([1], last_seen=NOW - DEAD_AFTER_S))
    wish(db, 2)
    assert advance(db) is not None


def test_silent_worker_that_failed_does_not_fail_it(db: Database) -> None:
    promotion = wish(db, 2)
    serve(db, worker([1], {promotion.id: "no space"}, last_seen=NOW - DEAD_AFTER_S))
    assert advance(db) is not None


def test_dead_process_of_this_machine_does_not_hold_it_up(db: Database) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    serve(db, worker([1, 2]), worker([1], host=this_host(), pid=ended.pid))
    wish(db, 2)
    assert advance(db) is not None


def test_live_process_of_this_machine_is_waited_for(db: Database) -> None:
    serve(db, worker([1], host=this_host(), pid=os.getpid()))
    wish(db, 2)
    assert advance(db) is None


def test_worker_that_beats_in_time_is_waited_for(db: Database) -> None:
    serve(db, worker([1], last_seen=NOW - HEARTBEAT_S * 3))
    wish(db, 2)
    assert advance(db) is None


def test_newer_wish_replaces_one_that_waits(db: Database) -> None:
    serve(db, worker([1]))
    older, newer = wish(db, 2), wish(db, 3)
    assert (state(db, older), state(db, newer)) == ("superseded", "waiting")
    with db.read() as conn:
        assert champion.waiting(conn) == newer
        assert champion.promotion(conn, older.id).error == "replaced by a wish for version 3"


def test_wish_for_an_unknown_version_is_refused(db: Database) -> None:
    for version in (0, -1, 5, 10**20):
        with pytest.raises(UnknownVersion, match="there are 1 to 4"):
            wish(db, version)


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 10_001])
def test_text_that_no_database_takes_is_refused(db: Database, text: str) -> None:
    for who, why in ((text, "better"), ("ann", text)):
        with pytest.raises(InvalidRequest), db.write() as conn:
            champion.request(conn, 2, who=who, why=why, now=NOW)


def test_wish_that_expects_another_champion_conflicts(db: Database) -> None:
    wish(db, 1, expected=0)
    first = advance(db)
    assert first is not None
    wish(db, 2, expected=first.id)
    second = advance(db)
    assert second is not None
    with pytest.raises(PromotionConflict, match=f'its tag is "{second.id}", not "{first.id}"'):
        wish(db, 3, expected=first.id)
    assert activated(db) == [1, 2]


def test_wish_that_conflicts_leaves_the_waiting_one_alone(db: Database) -> None:
    serve(db, worker([1]))
    promotion = wish(db, 2)
    with pytest.raises(PromotionConflict):
        wish(db, 3, expected=7)
    assert state(db, promotion) == "waiting"


def test_advance_from_many_threads_activates_once(db: Database) -> None:
    for version in (2, 3, 4):
        wish(db, version)
        written = in_threads(8, lambda _: advance(db))
        assert sum(each is not None for each in written) == 1
    assert activated(db) == [2, 3, 4]


def test_wishes_from_many_threads_leave_one_waiting(db: Database) -> None:
    serve(db, worker([1]))
    promotions = in_threads(8, lambda i: wish(db, 1 + i % 4))
    newest = max(promotions, key=lambda each: each.id)
    assert [p.id for p in promotions if state(db, p) == "waiting"] == [newest.id]


def test_two_wishes_that_overlap_leave_the_later_one(db: Database) -> None:
    serve(db, worker([1]))
    first, second = overtaking(
        db,
        lambda conn: champion.request(conn, 2, who="ann", why="", now=NOW),
        lambda conn: champion.request(conn, 3, who="bob", why="", now=NOW),
    )
    assert (state(db, first), state(db, second)) == ("superseded", "waiting")


def test_wish_that_is_being_replaced_is_not_activated(db: Database) -> None:
    older = wish(db, 2)
    newer, activation = overtaking(
        db,
        lambda conn: champion.request(conn, 3, who="bob", why="", now=NOW),
        lambda conn: champion.advance(conn, NOW),
    )
    assert activation is not None
    assert activation.promotion_id == newer.id
    assert state(db, older) == "superseded"
    assert activated(db) == [3]


def test_moment_counts_from_when_nobody_else_is_waited_for(db: Database) -> None:
    serve(db, worker(ready=[2]))
    is_over = threading.Event()
    began_after: list[bool] = []

    def clock() -> float:
        began_after.append(is_over.is_set())
        return NOW

    with ThreadPoolExecutor(1) as pool:
        with db.write() as conn:
            champion.request(conn, 2, who="ann", why="", now=NOW)
            moved = pool.submit(champion.move_on, db, clock)
            wait([moved], timeout=0.15)
            is_over.set()
        activation = moved.result(60)
    assert activation is not None
    assert activation.activate_at == NOW + LEAD_S
    assert began_after == [True]
    assert activated(db) == [2]


def test_expectation_sees_an_activation_that_commits_meanwhile(db: Database) -> None:
    wish(db, 2)
    with pytest.raises(PromotionConflict):
        overtaking(
            db,
            lambda conn: champion.advance(conn, NOW),
            lambda conn: champion.request(
                conn, 3, who="bob", why="", now=NOW, expected_activation=0
            ),
        )
    assert activated(db) == [2]


def _fields(one: Worker) -> dict[str, object]:
    return {name: getattr(one, name) for name in Worker.__dataclass_fields__}
