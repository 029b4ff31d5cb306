"""What a worker reports of itself: nothing is missed, and rows are written only when needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from core.models.servable import Servable
from core.registry import workers
from core.registry.workers import Worker
from core.store.store import Store
from service.swap import loaded_versions
from tests.service.swap_worker import (
    SOON_S,
    Process,
    live,
    promote,
    publish_three,
    report,
    state_of,
)
from tests.support.wait import wait_until

# Waits in real time: not in `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return publish_three(sqlite_store)


def test_switch_during_a_heartbeat_is_in_the_next_one(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    process.swap.stop()
    heartbeat, report = process.swap._heartbeat, workers.report

    def then_switch(conn: Connection, worker: Worker) -> None:
        report(conn, worker)
        process.slot.put(second)

    heartbeat.send()
    second = process.swap.loaded.load(2)
    with monkeypatch.context() as patched:
        patched.setattr(workers, "report", then_switch)
        heartbeat.send()
    assert [worker.version for worker in live(store)] == [1]
    heartbeat.send()
    assert [worker.version for worker in live(store)] == [2]


def test_swap_is_reported_twice_after_the_load_and_after_the_switch(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    promote(store, 2)
    wait_until(lambda: process.answers_with(2), SOON_S)
    wait_until(lambda: [w.ready for w in live(store)] == [(1, 2)], SOON_S)
    wait_until(lambda: [w.version for w in live(store)] == [2], SOON_S)
    sent: list[tuple[int | None, tuple[int, ...]]] = []
    report = workers.report

    def noted(conn: Connection, worker: Worker) -> None:
        sent.append((worker.version, worker.ready))
        report(conn, worker)

    monkeypatch.setattr(workers, "HEARTBEAT_S", 1e9)
    monkeypatch.setattr(workers, "report", noted)
    promote(store, 3)
    wait_until(lambda: (3, (2, 3)) in sent, SOON_S)
    assert sent == [(2, (1, 2, 3)), (3, (2, 3))]


def test_promotion_waits_for_a_worker_that_takes_long_to_load(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than after which a silent worker counts as dead."""
    monkeypatch.setattr(workers, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(workers, "DEAD_AFTER_S", 0.5)
    quick, slow = start(), start()
    tries: list[int] = []
    load = loaded_versions.load

    def slowly(*arguments: Any) -> Servable:
        tries.append(1)
        time.sleep(2.0)
        return load(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loaded_versions, "load", slowly)
        promotion = promote(store, 2)
        until = time.monotonic() + 1.8
        while time.monotonic() < until:
            assert len(live(store)) == 2
            assert state_of(store, promotion).is_pending
            slow.swap.ensure_fresh()  # no request is held up
            assert time.monotonic() < until + 0.2
            time.sleep(0.05)
        wait_until(lambda: slow.answers_with(2) and quick.answers_with(2), SOON_S)
    assert len(tries) == 2, "each worker loads it once"


def test_promotion_fails_if_a_worker_takes_too_long_to_load(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    process.swap._executor._load_within_s = 0.5
    report(store)  # another worker, which never loads it
    promotion = promote(store, 2)
    wait_until(lambda: not state_of(store, promotion).is_pending, SOON_S)
    failed = state_of(store, promotion)
    assert (failed.state, failed.error) == (
        "failed",
        "1 of 2 workers have not loaded it within 0 s",
    )
    assert process.answers_with(1)


def test_row_that_was_forgotten_is_written_again(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "HEARTBEAT_S", 0.1)
    start()
    with store.db.write() as conn:
        workers.forget_dead(conn, time.time() + 100_000)
    assert live(store) == []
    wait_until(lambda: len(live(store)) == 1, SOON_S)
