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


def prediction() -> Prediction:
    return Prediction(new_id(), "a" * 64, 1, "cat", 0.9, 0.8, time.time())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as threads:
        yield threads


@pytest.fixture
def recorder(sqlite_store: Store, pool: ThreadPoolExecutor) -> Recorder:
    return Recorder(sqlite_store, pool)


class Requests:
    """Threads that record, as those of the predictions do, while the database is held."""

    def __init__(self, recorder: Recorder, pool: ThreadPoolExecutor) -> None:
        self._recorder = recorder
        self._pool = pool

    def record(self, count: int) -> list[Future[None]]:
        """One is left waiting for the database; the others leave their rows to it."""
        first = self._pool.submit(self._recorder.record, prediction())
        wait_until(self._recorder._writing.locked)
        rest = [self._recorder.record(prediction()) for _ in range(count - 1)]
        return [chained(first), *rest]


def chained(outer: Future[Future[None]]) -> Future[None]:
    """Done when the row is written, however long `record` itself takes."""
    done: Future[None] = Future()

    def follow(inner: Future[None]) -> None:
        error = inner.exception()
        done.set_result(None) if error is None else done.set_exception(error)

    outer.add_done_callback(lambda found: found.result().add_done_callback(follow))
    return done


def wait_until(is_true: Any) -> None:
    ends_at = time.monotonic() + WITHIN_S
    while not is_true():
        assert time.monotonic() < ends_at
        time.sleep(0.001)


@pytest.fixture
def requests(recorder: Recorder, pool: ThreadPoolExecutor) -> Requests:
    return Requests(recorder, pool)


def num_rows(store: Store) -> int:
    with store.db.read() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def results(futures: list[Future[None]]) -> None:
    for future in futures:
        future.result(WITHIN_S)


def test_recorded_prediction_is_there_once_the_future_is_done(
    recorder: Recorder, sqlite_store: Store
) -> None:
    row = prediction()
    done = recorder.record(row)
    assert done.done()  # nobody else was writing
    done.result()
    with sqlite_store.db.read() as conn:
        assert predictions.get(conn, row.id) == row


def test_predictions_that_wait_go_in_one_group(
    requests: Requests, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    add = predictions.add

    def counted(db: Database, rows: list[Prediction]) -> None:
        groups.append(len(rows))
        add(db, rows)

    monkeypatch.setattr(predictions, "add", counted)
    with sqlite_store.db.write():  # while another one writes, they wait
        futures = requests.record(100)
        assert not any(future.done() for future in futures)
    results(futures)
    assert num_rows(sqlite_store) == 100
    assert groups == [1, 99]


def test_whoever_writes_goes_on_with_its_own_answer_after_one_group(
    recorder: Recorder, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that came meanwhile are written by a thread of the pool."""
    writers: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def slow(_db: Database, _rows: list[Prediction]) -> None:
        writers.append(threading.get_ident())
        entered.set()
        assert go_on.wait(WITHIN_S)

    monkeypatch.setattr(predictions, "add", slow)
    mine = threading.Thread(target=recorder.record, args=(prediction(),))
    mine.start()
    assert entered.wait(WITHIN_S)
    late = recorder.record(prediction())
    assert not late.done()
    go_on.set()
    late.result(WITHIN_S)
    mine.join(WITHIN_S)
    assert writers[0] == mine.ident != writers[1]


def test_more_than_one_group_can_hold_are_all_written(
    requests: Requests, sqlite_store: Store
) -> None:
    with sqlite_store.db.write():
        futures = requests.record(1000)
    results(futures)
    assert num_rows(sqlite_store) == 1000


def test_nothing_is_lost_between_many_threads(recorder: Recorder, sqlite_store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        futures = [chained(threads.submit(recorder.record, prediction())) for _ in range(400)]
        results(futures)
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
def test_failure_reaches_everyone_who_waits_and_then_passes(
    recorder: Recorder,
    requests: Requests,
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
            futures = requests.record(20)
        for future in futures:
            with pytest.raises(StoreError, match="the disk is full"):
                future.result(WITHIN_S)
    recorder.record(prediction()).result(WITHIN_S)
    assert num_rows(sqlite_store) == 1


def test_request_that_gave_up_does_not_hold_up_the_others(
    recorder: Recorder, requests: Requests, sqlite_store: Store
) -> None:
    with sqlite_store.db.write():
        futures = requests.record(10)
        cancelled = [future for future in futures[5:] if future.cancel()]
    assert len(cancelled) == 5
    results(futures[:5])
    recorder.record(prediction()).result(WITHIN_S)
    assert num_rows(sqlite_store) == 6


def test_group_that_gave_up_altogether_is_survived(
    recorder: Recorder, requests: Requests, sqlite_store: Store
) -> None:
    with sqlite_store.db.write():
        futures = requests.record(4)
        for future in futures[1:]:
            future.cancel()
    results(futures[:1])
    recorder.record(prediction()).result(WITHIN_S)


def test_stop_writes_what_waits(
    recorder: Recorder, requests: Requests, pool: ThreadPoolExecutor, sqlite_store: Store
) -> None:
    with sqlite_store.db.write():
        futures = requests.record(50)
        stopping = threading.Thread(target=recorder.stop)
        stopping.start()
    pool.shutdown()
    stopping.join(WITHIN_S)
    results(futures)
    assert num_rows(sqlite_store) == 50


def test_the_last_of_the_pool_write_what_waits(
    recorder: Recorder, requests: Requests, pool: ThreadPoolExecutor, sqlite_store: Store
) -> None:
    with sqlite_store.db.write():
        futures = requests.record(10)
        pool.shutdown(wait=False)  # whoever holds the lock cannot hand the rest on
    results(futures)
    assert num_rows(sqlite_store) == 10


def test_record_after_stop_fails_rather_than_waits(recorder: Recorder) -> None:
    recorder.stop()
    with pytest.raises(StoreError, match="stopping"):
        recorder.record(prediction()).result(WITHIN_S)
