"""Promotions that are requested and advanced concurrently."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from core.errors import PromotionConflict
from core.registry import promotions
from core.registry.promotions import ACTIVATION_LEAD_S
from core.store.database import Database
from tests.core.promotions import (
    NOW,
    activated_versions,
    advance,
    report_workers,
    request,
    state_of,
    worker,
)
from tests.support.concurrency import in_threads, overlapping

pytestmark = pytest.mark.slow  # not in `make check`


def test_advance_from_many_threads_activates_once(db: Database) -> None:
    for version in (2, 3, 4):
        request(db, version)
        written = in_threads(8, lambda _: advance(db))
        assert sum(each is not None for each in written) == 1
    assert activated_versions(db) == [2, 3, 4]


def test_requests_from_many_threads_leave_one_promotion_pending(db: Database) -> None:
    report_workers(db, worker([1]))
    requested = in_threads(8, lambda i: request(db, 1 + i % 4))
    newest = max(requested, key=lambda each: each.id)
    assert [p.id for p in requested if state_of(db, p) == "waiting"] == [newest.id]


def test_overlapping_requests_leave_the_later_promotion(db: Database) -> None:
    report_workers(db, worker([1]))
    first, second = overlapping(
        db,
        lambda conn: promotions.request(conn, 2, who="ann", why="", now=NOW),
        lambda conn: promotions.request(conn, 3, who="bob", why="", now=NOW),
    )
    assert (state_of(db, first), state_of(db, second)) == ("superseded", "waiting")


def test_promotion_that_is_being_superseded_is_not_activated(db: Database) -> None:
    older = request(db, 2)
    newer, activation = overlapping(
        db,
        lambda conn: promotions.request(conn, 3, who="bob", why="", now=NOW),
        lambda conn: promotions.advance(conn, NOW),
    )
    assert activation is not None
    assert activation.promotion_id == newer.id
    assert state_of(db, older) == "superseded"
    assert activated_versions(db) == [3]


def test_activation_time_counts_from_when_the_lock_is_held(db: Database) -> None:
    report_workers(db, worker(ready=[2]))
    is_over = threading.Event()
    began_after: list[bool] = []

    def clock() -> float:
        began_after.append(is_over.is_set())
        return NOW

    with ThreadPoolExecutor(1) as pool:
        with db.write() as conn:
            promotions.request(conn, 2, who="ann", why="", now=NOW)
            moved = pool.submit(promotions.advance_committed, db, clock=clock)
            wait([moved], timeout=0.15)
            is_over.set()
        activation = moved.result(60)
    assert activation is not None
    assert activation.activate_at == NOW + ACTIVATION_LEAD_S
    assert began_after == [True]
    assert activated_versions(db) == [2]


def test_expected_activation_is_checked_against_one_that_commits_meanwhile(db: Database) -> None:
    request(db, 2)
    with pytest.raises(PromotionConflict):
        overlapping(
            db,
            lambda conn: promotions.advance(conn, NOW),
            lambda conn: promotions.request(
                conn, 3, who="bob", why="", now=NOW, expected_activation=0
            ),
        )
    assert activated_versions(db) == [2]
