"""What a serving process says of itself, and that it does so while the database hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from core import ids
from core.errors import StoreError
from core.predictions import Prediction
from core.store.blobs import sha256
from core.store.database import Database
from core.store.free_disk import FreeDisk
from core.store.store import Store
from service.inference import health
from service.inference.health import Health
from service.inference.recorder import Recorder
from service.inference.spool import Spool
from service.swap.swap import Swap

pytestmark = pytest.mark.slow  # not in `make check`

IMAGE = b"i" * 1_000


class WellSwap:
    store_failing_since: float | None = None
    store_answered_at = 5.0


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", max_bytes=4_000, max_age_s=60)


@pytest.fixture
def recorder(sqlite_store: Store, spool: Spool) -> Recorder:
    return Recorder(sqlite_store, spool)


def health_of(recorder: Recorder, spool: Spool, disk: FreeDisk | None = None) -> Health:
    swap: Any = WellSwap()
    return Health(swap, recorder, spool, disk or FreeDisk())


def record(recorder: Recorder) -> None:
    recorder.record(Prediction(ids.new_id(), sha256(IMAGE), 1, "cat", 0.9, 0.8, time.time()), IMAGE)


def whats(each: Health) -> list[str]:
    return [degraded.what for degraded in each.degraded([])]


def test_store_that_fails_then_a_spool_that_fills_then_no_capture(
    recorder: Recorder, spool: Spool
) -> None:
    each = health_of(recorder, spool)
    assert whats(each) == []
    recorder.note_unwell(StoreError("it is away"))
    record(recorder)
    assert whats(each) == ["store"]
    while recorder.not_kept_since is None:
        record(recorder)
    spool.depth()
    assert whats(each) == ["capture", "spool", "store"]
    for path in spool.oldest_first():
        spool.remove(path)
    spool.depth()
    recorder.note_well()
    assert whats(each) == []


def test_since_is_when_it_began(recorder: Recorder, spool: Spool) -> None:
    recorder.note_unwell(StoreError("it is away"))
    began = recorder.unwell_since
    recorder.note_unwell(StoreError("it is away"))
    (found,) = health_of(recorder, spool).degraded([])
    assert found.since == began


def test_low_disk_is_degraded(recorder: Recorder, spool: Spool, tmp_path: Path) -> None:
    assert whats(health_of(recorder, spool, FreeDisk(tmp_path, 10**18))) == ["disk"]


def test_database_that_does_not_answer_is_degraded_since_its_last_answer(
    recorder: Recorder, spool: Spool
) -> None:
    (found,) = health_of(recorder, spool).degraded(None)
    assert (found.what, found.since) == ("database", 5.0)


def test_read_that_hangs_ends_in_time(recorder: Recorder, spool: Spool, monkeypatch: Any) -> None:
    monkeypatch.setattr(health, "READ_WITHIN_S", 0.05)
    thawed = threading.Event()
    each = health_of(recorder, spool)
    try:
        for _ in range(4):  # more than it has threads
            with pytest.raises(StoreError, match="has not answered"):
                each.read(lambda: thawed.wait(30))
    finally:
        thawed.set()


@contextmanager
def frozen_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every read hangs, as those of a database whose machine is gone."""
    thawed = threading.Event()
    read = Database.read

    @contextmanager
    def hang(self: Database) -> Iterator[Connection]:
        thawed.wait(60)
        with read(self) as conn:
            yield conn

    with monkeypatch.context() as outage:
        outage.setattr(Database, "read", hang)
        outage.setattr(health, "READ_WITHIN_S", 0.1)
        try:
            yield
        finally:
            thawed.set()


def test_status_and_metrics_answer_while_the_database_is_frozen(
    fresh: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fresh.get("/v1/status").json()["degraded"] == []
    with frozen_reads(monkeypatch):
        status = fresh.get("/v1/status")
        text = fresh.get("/metrics").text
    assert status.status_code == 200
    shown = status.json()
    assert (shown["version"], shown["labels"], shown["workers"]) == (1, None, [])
    assert [each["what"] for each in shown["degraded"]] == ["database"]
    assert 'evergreen_degraded{what="database"} 1.0' in text
    assert 'evergreen_degraded{what="swap"} 0.0' in text
    assert fresh.get("/v1/status").json()["degraded"] == []


def test_poll_that_fails_is_known_until_one_succeeds(
    fresh: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving: Any = fresh.app.state.serving  # type: ignore[attr-defined]
    swap: Swap = serving.swap

    def refused(*_: Any, **__: Any) -> Any:
        raise StoreError("it is away")

    with monkeypatch.context() as outage:
        outage.setattr("core.registry.latest.LatestPoller.poll", refused)
        with pytest.raises(StoreError):
            swap._follower.poll()
        assert swap.store_failing_since == swap.store_answered_at
    swap._follower.poll()
    assert swap.store_failing_since is None
