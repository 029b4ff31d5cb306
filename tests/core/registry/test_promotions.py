"""How a promotion ends: which workers it waits for, and which can fail it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from core.errors import InvalidRequest, PromotionConflict, UnknownVersion
from core.registry import promotions
from core.registry.promotions import ACTIVATION_LEAD_S, MAX_WAIT_S, Promotion, next_step
from core.registry.workers import DEAD_AFTER_S, HEARTBEAT_S, Worker
from core.store.database import Database
from core.system.host import pid_space
from tests.core.promotions import (
    NOW,
    activated_versions,
    advance,
    report_workers,
    request,
    state_of,
    worker,
)

PENDING = Promotion(5, 2, "waiting", "ann", "better", None, NOW)
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
    assert next_step(PENDING, serving, NOW + waited_s).action == action


def test_failed_step_says_who_and_why() -> None:
    assert next_step(PENDING, [BROKEN], NOW).reason == (
        "worker 1 on elsewhere cannot load it: checksum-mismatch"
    )
    assert "1 of 2 workers have not loaded it within 120 s" in (
        next_step(PENDING, [READY, LATE], NOW + MAX_WAIT_S + 1).reason
    )


def test_lead_lets_every_worker_see_an_activation_first() -> None:
    # Workers poll every 0.1 s; a slow tick may miss one poll or two.
    assert ACTIVATION_LEAD_S >= 0.3


def test_promotion_without_workers_is_activated_immediately(db: Database) -> None:
    promotion = request(db, 2)
    activation = advance(db)
    assert activation is not None
    assert (activation.version, activation.promotion_id) == (2, promotion.id)
    assert activation.activate_at == NOW
    assert (activation.who, activation.why) == ("ann", "better")
    assert state_of(db, promotion) == "activated"
    with db.read() as conn:
        assert promotions.newest_activation(conn) == activation
        assert promotions.pending(conn) is None


def test_activation_with_workers_is_a_moment_ahead(db: Database) -> None:
    report_workers(db, worker([1, 2]), worker([1, 2]))
    request(db, 2)
    activation = advance(db)
    assert activation is not None
    assert activation.activate_at == NOW + ACTIVATION_LEAD_S


def test_promotion_waits_until_the_switch_before_it_is_over(db: Database) -> None:
    report_workers(db, worker([1, 2]))
    request(db, 2)
    assert advance(db) is not None
    promotion = request(db, 1)
    assert advance(db, NOW + ACTIVATION_LEAD_S - 0.01) is None
    assert state_of(db, promotion) == "waiting"
    assert advance(db, NOW + ACTIVATION_LEAD_S + 0.01) is not None
    assert activated_versions(db) == [2, 1]


def test_promotion_waits_for_the_last_worker(db: Database) -> None:
    late = worker([1])
    report_workers(db, worker([1, 2]), late)
    promotion = request(db, 2)
    assert advance(db) is None
    assert state_of(db, promotion) == "waiting"
    report_workers(db, replace(late, ready=(1, 2)))
    assert advance(db) is not None
    assert state_of(db, promotion) == "activated"


def test_worker_that_cannot_load_fails_the_promotion_and_activates_nothing(db: Database) -> None:
    tiny_champion = request(db, 1)
    advance(db)
    promotion = request(db, 2)
    report_workers(db, worker([1, 2]), worker([1], {promotion.id: "no space"}))
    assert advance(db) is None
    assert state_of(db, promotion) == "failed"
    assert state_of(db, tiny_champion) == "activated"
    assert activated_versions(db) == [1]
    with db.read() as conn:
        assert "no space" in str(promotions.promotion(conn, promotion.id).error)


def test_failed_promotion_can_be_requested_again(db: Database) -> None:
    promotion = request(db, 2)
    broken = worker([1], {promotion.id: "no space"})
    report_workers(db, broken)
    advance(db)
    again = request(db, 2)
    assert advance(db) is None
    report_workers(db, replace(broken, ready=(1, 2)))
    assert advance(db) is not None
    assert (state_of(db, promotion), state_of(db, again)) == ("failed", "activated")
    with db.read() as conn:
        assert promotions.newest_promotion_of(conn, 2) == promotions.promotion(conn, again.id)


def test_silent_worker_is_not_waited_for(db: Database) -> None:
    report_workers(db, worker([1, 2]), worker([1], last_seen=NOW - DEAD_AFTER_S))
    request(db, 2)
    assert advance(db) is not None


def test_silent_worker_that_failed_does_not_fail_the_promotion(db: Database) -> None:
    promotion = request(db, 2)
    report_workers(db, worker([1], {promotion.id: "no space"}, last_seen=NOW - DEAD_AFTER_S))
    assert advance(db) is not None


def test_ended_process_of_this_machine_is_not_waited_for(db: Database) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    report_workers(db, worker([1, 2]), worker([1], pid_space=pid_space(), pid=ended.pid))
    request(db, 2)
    assert advance(db) is not None


def test_live_process_of_this_machine_is_waited_for(db: Database) -> None:
    report_workers(db, worker([1], pid_space=pid_space(), pid=os.getpid()))
    request(db, 2)
    assert advance(db) is None


def test_worker_with_a_recent_heartbeat_is_waited_for(db: Database) -> None:
    report_workers(db, worker([1], last_seen=NOW - HEARTBEAT_S * 3))
    request(db, 2)
    assert advance(db) is None


def test_newer_request_supersedes_the_pending_promotion(db: Database) -> None:
    report_workers(db, worker([1]))
    older, newer = request(db, 2), request(db, 3)
    assert (state_of(db, older), state_of(db, newer)) == ("superseded", "waiting")
    with db.read() as conn:
        assert promotions.pending(conn) == newer
        assert promotions.promotion(conn, older.id).error == "replaced by a request for version 3"


def test_request_for_an_unknown_version_is_refused(db: Database) -> None:
    for version in (0, -1, 5, 10**20):
        with pytest.raises(UnknownVersion, match="there are 1 to 4"):
            request(db, version)


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 10_001])
def test_text_that_no_database_takes_is_refused(db: Database, text: str) -> None:
    for who, why in ((text, "better"), ("ann", text)):
        with pytest.raises(InvalidRequest), db.write() as conn:
            promotions.request(conn, 2, who=who, why=why, now=NOW)


def test_request_that_expects_another_champion_conflicts(db: Database) -> None:
    request(db, 1, expected=0)
    first = advance(db)
    assert first is not None
    request(db, 2, expected=first.id)
    second = advance(db)
    assert second is not None
    with pytest.raises(PromotionConflict, match=f'its tag is "{second.id}", not "{first.id}"'):
        request(db, 3, expected=first.id)
    assert activated_versions(db) == [1, 2]


def test_request_that_conflicts_leaves_the_pending_promotion(db: Database) -> None:
    report_workers(db, worker([1]))
    promotion = request(db, 2)
    with pytest.raises(PromotionConflict):
        request(db, 3, expected=7)
    assert state_of(db, promotion) == "waiting"
