from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from core import predictions
from core.errors import StoreError
from core.ids import new_id
from core.predictions import Prediction
from core.store.database import Database
from core.store.schema import predictions as table
from core.store.store import Store
from service.inference.recorder import Recorder

WITHIN_S = 10.0
NUM_THREADS = 20


def prediction() -> Prediction:
    return Prediction(new_id(), "a" * 64, 1, "cat", 0.9, 0.8, time.time())


@pytest.fixture
def recorder(sqlite_store: Store) -> Recorder:
    return Recorder(sqlite_store)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        yield threads


def record_while_one_writes(recorder: Recorder, pool: ThreadPoolExecutor) -> list[Future[None]]:
    """The first thread writes, and all others wait for it. The database must be held meanwhile."""
    first = pool.submit(recorder.record, prediction())
    wait_until(lambda: recorder._writing.locked() and not recorder._waiting)
    rest = [pool.submit(recorder.record, prediction()) for _ in range(NUM_THREADS - 1)]
    wait_until(lambda: len(recorder._waiting) == NUM_THREADS - 1)
    return [first, *rest]


def wait_until(is_true: Any) -> None:
    ends_at = time.monotonic() + WITHIN_S
    while not is_true():
        assert time.monotonic() < ends_at
        time.sleep(0.001)


def num_rows(store: Store) -> int:
    with store.db.read() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def test_row_is_there_when_record_returns(recorder: Recorder, sqlite_store: Store) -> None:
    row = prediction()
    recorder.record(row)
    with sqlite_store.db.read() as conn:
        assert predictions.get(conn, row.id) == row


def test_rows_that_wait_are_written_in_one_group(
    recorder: Recorder,
    pool: ThreadPoolExecutor,
    sqlite_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups: list[int] = []
    writers: list[int] = []
    add = predictions.add

    def counted(db: Database, rows: list[Prediction]) -> None:
        groups.append(len(rows))
        writers.append(threading.get_ident())
        add(db, rows)

    monkeypatch.setattr(predictions, "add", counted)
    with sqlite_store.db.write():
        futures = record_while_one_writes(recorder, pool)
        assert not any(future.done() for future in futures)
    for future in futures:
        future.result(WITHIN_S)
    assert num_rows(sqlite_store) == NUM_THREADS
    assert groups == [1, NUM_THREADS - 1]
    assert len(set(writers)) == 2, "who has written goes on with its own prediction"


def test_rows_of_many_threads_are_all_written(
    recorder: Recorder, pool: ThreadPoolExecutor, sqlite_store: Store
) -> None:
    futures = [pool.submit(recorder.record, prediction()) for _ in range(400)]
    for future in futures:
        future.result(WITHIN_S)
    assert num_rows(sqlite_store) == 400


@pytest.mark.parametrize(
    "error",
    [
        StoreError("the disk is full"),
        OperationalError("INSERT", {}, sqlite3.OperationalError("the disk is full")),
        ValueError("the disk is full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failure_reaches_every_row_of_the_group_and_then_passes(
    recorder: Recorder,
    pool: ThreadPoolExecutor,
    sqlite_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def broken(db: Database, _rows: list[Prediction]) -> None:
        with db.write():  # it has its turn, and then
            raise error

    with monkeypatch.context() as patched:
        patched.setattr(predictions, "add", broken)
        with sqlite_store.db.write():
            futures = record_while_one_writes(recorder, pool)
        for future in futures:
            with pytest.raises(StoreError, match="the disk is full"):
                future.result(WITHIN_S)
    recorder.record(prediction())
    assert num_rows(sqlite_store) == 1
