"""How a promotion ended is seen, whoever brought it about, and looking for it costs little."""

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


def test_it_waits_until_the_moment_is_known(db: Database) -> None:
    late = one((1,))
    report_workers(db, late)
    awaited = PromotionWaiter(db, request(db, 2, time.time()).id)
    assert awaited.poll() is None
    assert advance(db, time.time()) is None
    assert awaited.poll() is None
    report_workers(db, replace(late, ready=(1, 2)))
    activation = advance(db, time.time())
    assert activation is not None
    assert awaited.poll() == PromotionResult(activation.activate_at)


def test_one_that_another_activation_has_followed_is_told_its_own_moment(db: Database) -> None:
    awaited = PromotionWaiter(db, request(db, 2).id)
    first = advance(db)
    request(db, 1)
    assert advance(db) != first
    assert first is not None
    assert awaited.poll() == PromotionResult(first.activate_at)


def test_it_tells_why_nothing_came_of_it(db: Database) -> None:
    replaced = PromotionWaiter(db, request(db, 2, time.time()).id)
    promotion = request(db, 2, time.time())
    assert replaced.poll() == PromotionResult(None, "replaced by a wish for version 2")
    report_workers(db, worker((1,), {promotion.id: "no space"}, last_seen=time.time()))
    ended = wait_for_promotion(db, promotion.id)
    assert ended.activate_at is None
    assert "no space" in str(ended.error)


def test_as_long_as_nothing_changes_one_row_is_read_and_no_more(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_workers(db, one((1,)))
    awaited = PromotionWaiter(db, request(db, 2, time.time()).id)
    assert awaited.poll() is None
    monkeypatch.setattr(activations, "of_promotion", lambda *_: pytest.fail("it was looked up"))
    for _ in range(5):
        assert awaited.poll() is None


def test_with_no_worker_alive_it_is_moved_on_and_waited_for(db: Database) -> None:
    ended = wait_for_promotion(db, request(db, 2, time.time()).id)
    assert ended.activate_at is not None
    assert ended.activate_at <= time.time()


def test_what_the_workers_do_is_left_to_them(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a promotion locks all others out who write, predictions among them."""
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
    looks: list[int] = []

    def meanwhile() -> None:
        looks.append(1)
        if len(looks) == 5:
            report_workers(db, replace(first, ready=(1, 2)))
            promotions.advance_committed(db)

    ended = wait_for_promotion(db, promotion.id, meanwhile, advance_every_s=60.0)
    assert ended.activate_at is not None
    assert len(looks) == 5
    assert len(writes) == 3, "one here, and two of the worker"


def test_worker_that_dies_in_the_midst_does_not_hold_it_up_for_ever(db: Database) -> None:
    dying = one((1,))
    report_workers(db, dying)
    promotion = request(db, 2, time.time())
    looks: list[int] = []

    def meanwhile() -> None:
        looks.append(1)
        if len(looks) == 3:
            report_workers(db, replace(dying, last_seen=0.0))

    ended = wait_for_promotion(db, promotion.id, meanwhile, advance_every_s=0.05)
    assert ended.activate_at is not None
