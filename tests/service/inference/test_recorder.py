from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from core import predictions
from core.errors import StoreError
from core.ids import new_id
from core.predictions import Prediction
from core.store.blobs import LocalBlobs, sha256
from core.store.database import Database
from core.store.schema import predictions as table
from core.store.store import Store
from service import metrics
from service.inference.recorder import Recorder
from service.inference.spool import Spool
from service.inference.spool_drain import SpoolDrain

WITHIN_S = 10.0
NUM_THREADS = 20


IMAGE = b"an image"


def prediction() -> Prediction:
    return Prediction(new_id(), sha256(IMAGE), 1, "cat", 0.9, 0.8, time.time())


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", max_bytes=1_000_000, max_age_s=60)


@pytest.fixture
def recorder(sqlite_store: Store, spool: Spool) -> Recorder:
    return Recorder(sqlite_store, spool, patience_s=WITHIN_S)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        yield threads


def record_while_one_writes(recorder: Recorder, pool: ThreadPoolExecutor) -> list[Future[None]]:
    """The first thread writes, and all others wait for it. The database must be held meanwhile."""
    first = pool.submit(recorder.record, prediction(), IMAGE)
    wait_until(lambda: recorder._writing.locked() and not recorder._waiting)
    rest = [pool.submit(recorder.record, prediction(), IMAGE) for _ in range(NUM_THREADS - 1)]
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
    recorder.record(row, IMAGE)
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

    def counted(db: Database, rows: list[Prediction], patience_s: float) -> None:
        groups.append(len(rows))
        writers.append(threading.get_ident())
        add(db, rows, patience_s)

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
    futures = [pool.submit(recorder.record, prediction(), IMAGE) for _ in range(400)]
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
def test_failure_spools_every_row_of_the_group_and_then_passes(
    recorder: Recorder,
    spool: Spool,
    pool: ThreadPoolExecutor,
    sqlite_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def broken(db: Database, _rows: list[Prediction], _patience_s: float) -> None:
        with db.write():  # it has its turn, and then
            raise error

    with monkeypatch.context() as patched:
        patched.setattr(predictions, "add", broken)
        with sqlite_store.db.write():
            futures = record_while_one_writes(recorder, pool)
        for future in futures:
            future.result(WITHIN_S)
    assert recorder.unwell_since is not None
    assert spool.depth().num_predictions == NUM_THREADS
    assert SpoolDrain(sqlite_store, spool, recorder).drain()
    recorder.note_well()
    recorder.record(prediction(), IMAGE)
    assert num_rows(sqlite_store) == NUM_THREADS + 1


def test_locked_database_is_not_waited_for(
    spool: Spool, pool: ThreadPoolExecutor, sqlite_store: Store
) -> None:
    recorder = Recorder(sqlite_store, spool, patience_s=0.05)
    with sqlite_store.db.write():  # longer than the test has patience
        futures = [pool.submit(recorder.record, prediction(), IMAGE) for _ in range(NUM_THREADS)]
        for future in futures:
            future.result(WITHIN_S)
        assert spool.depth().num_predictions == NUM_THREADS
    assert SpoolDrain(sqlite_store, spool, recorder).drain()
    assert num_rows(sqlite_store) == NUM_THREADS


def test_store_that_hangs_is_not_waited_for(
    spool: Spool, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    thawed = threading.Event()
    put = LocalBlobs.put

    def frozen(*args: Any, **options: Any) -> str:
        thawed.wait(WITHIN_S)
        return put(*args, **options)

    monkeypatch.setattr(LocalBlobs, "put", frozen)
    recorder = Recorder(sqlite_store, spool, num_threads=2, patience_s=0.05)
    rows = [prediction() for _ in range(5)]
    for row in rows:
        recorder.record(row, IMAGE)
    assert spool.depth().num_predictions == 5
    thawed.set()
    wait_until(lambda: num_rows(sqlite_store) == 1)  # the first one had begun
    assert SpoolDrain(sqlite_store, spool, recorder).drain()
    assert num_rows(sqlite_store) == 5


def test_prediction_without_room_anywhere_is_not_kept(
    tmp_path: Path, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise StoreError("the disk is full")

    monkeypatch.setattr(LocalBlobs, "put", full)
    small = Spool(tmp_path / "small", max_bytes=10, max_age_s=60)
    before = metrics.not_kept._value.get()
    Recorder(sqlite_store, small).record(prediction(), IMAGE)
    assert metrics.not_kept._value.get() == before + 1
    assert small.depth().num_predictions == 0
