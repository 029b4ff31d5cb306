"""The thread that checkpoints SQLite's WAL."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from core.errors import StoreError
from core.store.store import Store
from service.processes.wal_checkpoints import Checkpoints


@pytest.fixture
def started(sqlite_store: Store) -> Iterator[Checkpoints]:
    found = Checkpoints(sqlite_store.db, every_s=0.01)
    found.start()
    yield found
    found.stop()


@pytest.mark.usefixtures("started")
def test_checkpoints_continue_after_a_failure(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, calls = threading.Event(), []

    def failing() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise StoreError("the disk is full")
        again.set()

    monkeypatch.setattr(sqlite_store.db, "checkpoint", failing)
    assert again.wait(10)


def test_checkpoints_stop_without_having_started(sqlite_store: Store) -> None:
    Checkpoints(sqlite_store.db).stop()
