"""What a worker tells of itself: never less than is true, and no more often than others need it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from core.registry import workers
from core.registry.workers import Worker
from core.store.store import Store
from tests.service.swap_worker import SOON_S, Process, live, promote, publish_three
from tests.service.trained_home import wait_until

# Waits for real moments: not in `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return publish_three(sqlite_store)


def test_switch_while_it_is_told_is_told_next_time(
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


def test_a_swap_is_told_twice_when_it_is_loaded_and_when_it_has_switched(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    promote(store, 2)
    wait_until(lambda: process.answers_with(2), SOON_S)
    wait_until(lambda: [w.ready for w in live(store)] == [(1, 2)], SOON_S)
    wait_until(lambda: [w.version for w in live(store)] == [2], SOON_S)
    told: list[tuple[int | None, tuple[int, ...]]] = []
    report = workers.report

    def noted(conn: Connection, worker: Worker) -> None:
        told.append((worker.version, worker.ready))
        report(conn, worker)

    monkeypatch.setattr(workers, "HEARTBEAT_S", 1e9)
    monkeypatch.setattr(workers, "report", noted)
    promote(store, 3)
    wait_until(lambda: (3, (2, 3)) in told, SOON_S)
    assert told == [(2, (1, 2, 3)), (3, (2, 3))]
