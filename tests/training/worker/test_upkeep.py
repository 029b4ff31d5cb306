"""The thread of the trainer that sweeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from core.errors import StoreError
from core.retention import lease, storage
from core.retention.leased_sweep import LeasedSweep
from core.retention.sweep import Sweeper, Swept
from core.store.blobs import sha256
from core.store.store import Store
from tests.core.retention.swept_store import NOW, image, predict, sweeper_of
from tests.support.wait import wait_until
from training.worker.upkeep import Upkeep


def upkeep_of(store: Store, owner: str = "trainer", first_after_s: float = 0.0) -> Upkeep:
    return Upkeep(LeasedSweep(sweeper_of(store), owner, lambda: NOW), first_after_s)


def test_thread_sweeps_and_measures(sqlite_store: Store) -> None:
    predict(sqlite_store, image(1), 31)
    predict(sqlite_store, image(2), 1)
    upkeep = upkeep_of(sqlite_store)
    upkeep.start()

    def is_measured() -> bool:
        with sqlite_store.db.read() as conn:
            return storage.read(conn).measured_at is not None

    try:
        wait_until(is_measured)
    finally:
        upkeep.stop()
    assert not sqlite_store.blobs.has(sha256(image(1)))
    with sqlite_store.db.read() as conn:
        uses = {use.kind: use.num_bytes for use in storage.read(conn).uses}
    assert uses["other-images"] == len(image(2))


def test_another_process_that_sweeps_is_not_disturbed(sqlite_store: Store) -> None:
    predict(sqlite_store, image(1), 31)
    with sqlite_store.db.write() as conn:
        assert lease.acquire(conn, "another", NOW)
    upkeep_of(sqlite_store).sweep()
    assert sqlite_store.blobs.has(sha256(image(1)))
    with sqlite_store.db.write() as conn:
        lease.release(conn, "another")
    upkeep_of(sqlite_store).sweep()
    assert not sqlite_store.blobs.has(sha256(image(1)))


def test_stop_ends_a_sweep_after_a_piece(sqlite_store: Store) -> None:
    for seed in range(40):
        predict(sqlite_store, image(seed), 31)
    upkeep = upkeep_of(sqlite_store)
    upkeep.stop()
    upkeep.sweep()
    assert any(sqlite_store.blobs.has(sha256(image(seed))) for seed in range(40))
    upkeep_of(sqlite_store).sweep()
    assert not any(sqlite_store.blobs.has(sha256(image(seed))) for seed in range(40))


def test_store_that_fails_is_tried_again_and_said(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> Iterator[Swept]:
        raise StoreError("gone")

    upkeep = upkeep_of(sqlite_store)
    monkeypatch.setattr(Sweeper, "sweep", failing)
    caplog.set_level(logging.WARNING)
    upkeep.start()
    try:
        wait_until(lambda: "sweep.failed" in caplog.messages)
        assert upkeep._thread.is_alive()
    finally:
        upkeep.stop()
