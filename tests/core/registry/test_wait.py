"""Waiting for a promotion: its end is seen whatever process caused it, and a poll costs little."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from core.registry import activations, promotions
from core.registry.wait import PromotionResult, PromotionWaiter, wait_for_promotion
from core.registry.workers import Worker
from core.store.database import Database
from core.store.store import Store
from tests.core.promotions import advance, report_workers, request, worker
from tests.support import tiny


@pytest.fixture
def db(store: Store) -> Database:
    for _ in range(2):
        tiny.publish(store)
    return store.db


def one(ready: tuple[int, ...]) -> Worker:
    return worker(ready, last_seen=time.time())


def test_poll_returns_the_time_of_the_activation(db: Database) -> None:
    late = one((1,))
    report_workers(db, late)
    waiter = PromotionWaiter(db, request(db, 2, time.time()).id)
    assert waiter.poll() is None
    assert advance(db, time.time()) is None
    assert waiter.poll() is None
    report_workers(db, replace(late, ready=(1, 2)))
    activation = advance(db, time.time())
    assert activation is not None
    assert waiter.poll() == PromotionResult(activation.activate_at)


def test_poll_returns_the_promotions_own_activation_although_another_followed(db: Database) -> None:
    waiter = PromotionWaiter(db, request(db, 2).id)
    first = advance(db)
    request(db, 1)
    assert advance(db) != first
    assert first is not None
    assert waiter.poll() == PromotionResult(first.activate_at)


def test_poll_returns_why_the_promotion_was_not_activated(db: Database) -> None:
    replaced = PromotionWaiter(db, request(db, 2, time.time()).id)
    promotion = request(db, 2, time.time())
    assert replaced.poll() == PromotionResult(None, "replaced by a request for version 2")
    report_workers(db, worker((1,), {promotion.id: "no space"}, last_seen=time.time()))
    result = wait_for_promotion(db, promotion.id)
    assert result.activate_at is None
    assert "no space" in str(result.error)


def test_poll_reads_one_row_while_nothing_changes(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_workers(db, one((1,)))
    waiter = PromotionWaiter(db, request(db, 2, time.time()).id)
    assert waiter.poll() is None
    monkeypatch.setattr(
        activations, "by_promotion", lambda *_: pytest.fail("the activation was queried")
    )
    for _ in range(5):
        assert waiter.poll() is None


def test_wait_advances_the_promotion_if_no_worker_is_alive(db: Database) -> None:
    result = wait_for_promotion(db, request(db, 2, time.time()).id)
    assert result.activate_at is not None
    assert result.activate_at <= time.time()


def test_wait_leaves_the_promotion_to_live_workers(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advancing takes the write lock, which predictions need too."""
    first = one((1,))
    report_workers(db, first)
    promotion = request(db, 2, time.time())
    writes: list[float] = []
    write = db.write

    @contextmanager
    def counted(*, durable: bool = True) -> Iterator[Connection]:
        writes.append(time.time())
        with write(durable=durable) as conn:
            yield conn

    monkeypatch.setattr(db, "write", counted)
    polls: list[int] = []

    def meanwhile() -> None:
        polls.append(1)
        if len(polls) == 5:
            report_workers(db, replace(first, ready=(1, 2)))
            promotions.advance_committed(db)

    result = wait_for_promotion(db, promotion.id, meanwhile, advance_every_s=60.0)
    assert result.activate_at is not None
    assert len(polls) == 5
    assert len(writes) == 3, "one here, and two of the worker"


def test_wait_ends_although_a_worker_dies_meanwhile(db: Database) -> None:
    dying = one((1,))
    report_workers(db, dying)
    promotion = request(db, 2, time.time())
    polls: list[int] = []

    def meanwhile() -> None:
        polls.append(1)
        if len(polls) == 3:
            report_workers(db, replace(dying, last_seen=0.0))

    result = wait_for_promotion(db, promotion.id, meanwhile, advance_every_s=0.05)
    assert result.activate_at is not None
