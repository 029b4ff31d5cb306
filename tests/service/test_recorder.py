from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from core import predictions
from core.errors import StoreError
from core.predictions import Prediction, new_id
from core.schema import predictions as table
from core.store import Store
from service.recorder import Recorder

WITHIN_S = 10.0


def prediction() -> Prediction:
    return Prediction(new_id(), "a" * 64, 1, "cat", 0.9, 0.8, time.time())


@pytest.fixture
def recorder(sqlite_store: Store) -> Iterator[Recorder]:
    started = Recorder(sqlite_store)
    yield started
    started.stop()


def num_rows(store: Store) -> int:
    with store.db.read() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def results(futures: list[Future[None]]) -> None:
    wait(futures, WITHIN_S)
    for future in futures:
        future.result(0)


def test_recorded_prediction_is_there_once_the_future_is_done(
    recorder: Recorder, sqlite_store: Store
) -> None:
    row = prediction()
    recorder.record(row).result(WITHIN_S)
    with sqlite_store.db.read() as conn:
        assert predictions.get(conn, row.id) == row


def test_predictions_that_wait_go_in_one_group(
    recorder: Recorder, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    add = predictions.add

    def counted(conn: Connection, rows: list[Prediction]) -> None:
        groups.append(len(rows))
        add(conn, rows)

    monkeypatch.setattr(predictions, "add", counted)
    with sqlite_store.db.write():  # while another one writes, they wait
        futures = [recorder.record(prediction()) for _ in range(100)]
        time.sleep(0.05)
        assert not any(future.done() for future in futures)
    results(futures)
    assert num_rows(sqlite_store) == sum(groups) == 100
    assert len(groups) <= 3


def test_more_than_one_group_can_hold_are_all_written(
    recorder: Recorder, sqlite_store: Store
) -> None:
    with sqlite_store.db.write():
        futures = [recorder.record(prediction()) for _ in range(1000)]
    results(futures)
    assert num_rows(sqlite_store) == 1000


@pytest.mark.parametrize(
    "error",
    [
        StoreError("the disk is full"),
        OperationalError("INSERT", {}, sqlite3.OperationalError("the disk is full")),
        ValueError("the disk is full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failure_reaches_everyone_who_waits_and_then_passes(
    recorder: Recorder,
    sqlite_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def broken(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(predictions, "add", broken)
        with sqlite_store.db.write():
            futures = [recorder.record(prediction()) for _ in range(20)]
        for future in futures:
            with pytest.raises(StoreError, match="the disk is full"):
                future.result(WITHIN_S)
    recorder.record(prediction()).result(WITHIN_S)
    assert num_rows(sqlite_store) == 1


def test_request_that_gave_up_does_not_hold_up_the_others(
    recorder: Recorder, sqlite_store: Store
) -> None:
    with sqlite_store.db.write():
        futures = [recorder.record(prediction()) for _ in range(10)]
        cancelled = [future for future in futures[5:] if future.cancel()]
    assert cancelled
    results([future for future in futures if not future.cancelled()])
    recorder.record(prediction()).result(WITHIN_S)


def test_group_that_gave_up_altogether_is_survived(recorder: Recorder, sqlite_store: Store) -> None:
    with sqlite_store.db.write():
        futures = [recorder.record(prediction()) for _ in range(3)]
        for future in futures:
            future.cancel()
    recorder.record(prediction()).result(WITHIN_S)


def test_stop_writes_what_waits(sqlite_store: Store) -> None:
    recorder = Recorder(sqlite_store)
    futures = [recorder.record(prediction()) for _ in range(50)]
    recorder.stop()
    assert all(future.done() for future in futures)
    results(futures)
    assert num_rows(sqlite_store) == 50


def test_record_after_stop_fails_rather_than_waits(sqlite_store: Store) -> None:
    recorder = Recorder(sqlite_store)
    recorder.stop()
    with pytest.raises(StoreError, match="stopping"):
        recorder.record(prediction()).result(WITHIN_S)
