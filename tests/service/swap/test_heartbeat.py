"""What a worker reports of itself: nothing is missed, and rows are written only when needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from core.registry import workers
from core.registry.workers import Worker
from core.store.store import Store
from tests.service.swap_worker import SOON_S, Process, live, promote, publish_three
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
