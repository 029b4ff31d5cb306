"""What is degraded, as the database tells it, on each database."""

from __future__ import annotations

import pytest

from core.doctor import degraded
from core.doctor.degraded import Degraded
from core.labelling import lost_images
from core.registry import version_files, versions, workers
from core.registry.workers import Worker
from core.store.blobs import sha256
from core.store.store import Store
from tests.core import promotions as registry
from tests.core.labelled_store import IMAGE, label
from tests.core.promotions import NOW
from tests.support import tiny


@pytest.fixture
def live_store(store: Store) -> Store:
    """Version 2 is champion after version 1; a server and a trainer live."""
    for number in (1, 2):
        tiny.publish(store, tiny.make_manifest(store.blobs, head_seed=number))
        tiny.activate(store, number, now=NOW - 100)
    serve(store, 2)
    train(store)
    return store


def serve(store: Store, version: int, started_at: float = NOW - 1000) -> None:
    worker = Worker("s", "serving", "elsewhere", 1, "cpu", version, (1, 2), {}, started_at, NOW)
    registry.report_workers(store.db, worker)


def train(store: Store, last_seen: float = NOW) -> None:
    worker = Worker("t", "trainer", "elsewhere", 2, "cpu", None, (), {}, NOW - 900, last_seen)
    registry.report_workers(store.db, worker)


def read(store: Store, now: float = NOW) -> list[Degraded]:
    with store.db.read() as conn:
        return degraded.read(conn, now)


def only(found: list[Degraded]) -> tuple[str, float]:
    (each,) = found
    assert each.what in degraded.NAMES
    assert each.reason
    assert each.remedy
    return each.what, each.since


def test_nothing_is_degraded_where_all_is_well(live_store: Store) -> None:
    assert read(live_store) == []


def test_new_store_without_a_server_is_not_degraded(store: Store) -> None:
    assert read(store) == []


def test_lost_images_are_degraded_since_the_first_was_found(live_store: Store) -> None:
    label(live_store)
    live_store.blobs.delete(sha256(IMAGE))
    lost_images.mark_lost(live_store, {sha256(IMAGE): "missing"}, now=77.0)
    assert only(read(live_store)) == ("lost-images", 77.0)


@pytest.mark.parametrize(("number", "says"), [(2, "the champion"), (1, "a rollback skips it")])
def test_lost_files_of_a_version_in_use_are_degraded(
    live_store: Store, number: int, says: str
) -> None:
    with live_store.db.read() as conn:
        version = versions.get(conn, number)
    live_store.blobs.delete(version.head)
    version_files.note(live_store, version)
    found = read(live_store)
    assert only(found)[0] == "lost-versions"
    assert says in found[0].reason
    assert "head.onnx" in found[0].reason


def test_trainer_that_fell_silent_is_degraded_since_its_last_heartbeat(live_store: Store) -> None:
    train(live_store, last_seen=NOW - 20)
    assert read(live_store) == []  # it may be starting again
    train(live_store, last_seen=NOW - 200)
    assert only(read(live_store)) == ("trainer", NOW - 200)


def test_server_without_a_trainer_is_degraded_since_its_start(live_store: Store) -> None:
    with live_store.db.write() as conn:
        workers.leave(conn, "t")
    assert only(read(live_store)) == ("trainer", NOW - 1000)
    serve(live_store, 2, started_at=NOW - 10)
    assert read(live_store) == []


def test_worker_that_serves_another_version_is_degraded_since_the_activation(
    live_store: Store,
) -> None:
    serve(live_store, 1)
    assert only(read(live_store)) == ("swap", NOW - 100)
    tiny.activate(live_store, 2, now=NOW)
    assert read(live_store) == []  # a swap takes a moment


def test_promotion_that_waits_for_long_is_degraded_since_its_request(live_store: Store) -> None:
    number = tiny.publish(live_store, tiny.make_manifest(live_store.blobs, head_seed=3))
    registry.request(live_store.db, number, now=NOW - 60)
    found = read(live_store)
    assert only(found) == ("swap", NOW - 60)
    assert "1 of 1 workers" in found[0].reason
