"""How a worker follows activations: at its start, when it is late, and without its stores."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import pytest

from core.errors import StoreError
from core.inputs.kind import Limits
from core.labelling import intake, labels
from core.labelling.intake import LabelRequest
from core.registry import promotions
from core.settings import Settings
from core.store.store import Store
from service.swap import executor, follower, heartbeat
from service.swap import swap as swap_module
from tests.service.swap_worker import (
    SOON_S,
    Process,
    activate_behind_its_back,
    count_loads,
    damage_head,
    head_of,
    live,
    problems,
    promote,
    publish_three,
    report,
    sample,
)
from tests.support import images, tiny
from tests.support.wait import wait_until

# Waits in real time: not in `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return publish_three(sqlite_store)


def is_given_up(process: Process) -> bool:
    failures = process.swap._heartbeat._failures.values()
    return any(math.isinf(failure.retry_at) for failure in failures)


def test_worker_that_starts_before_the_switch_waits_for_it(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotions, "ACTIVATION_LEAD_S", 1.5)
    report(store, ready=(1, 2))
    promote(store, 2)
    with store.db.write() as conn:
        activation = promotions.advance(conn, time.time())
    assert activation is not None
    process = start()
    assert process.slot.given == [(2, activation.activate_at)]
    if time.time() < activation.activate_at - 0.2:  # a busy machine may be past it
        assert process.answers_with(1)
    wait_until(lambda: process.answers_with(2), SOON_S)


def test_worker_that_starts_after_the_clock_was_set_back_serves_the_champion(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(store, 2)
    with store.db.write() as conn:
        assert promotions.advance(conn, time.time() + 3600) is not None
    process = start()
    assert process.answers_with(2)


def test_activation_written_while_a_worker_starts_is_not_missed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(store)
    send = process.swap._heartbeat.send

    def activate_then_send() -> None:
        monkeypatch.undo()
        tiny.activate(store, 2, time.time())  # nobody waits for this worker yet
        send()

    monkeypatch.setattr(process.swap._heartbeat, "send", activate_then_send)
    process.swap.start()
    try:
        assert process.answers_with(2)
    finally:
        process.swap.stop()


def test_worker_starts_with_an_older_version_if_the_champion_is_damaged(
    store: Store,
    settings: Settings,
    start: Callable[[], Process],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tiny.activate(store, 2, time.time())
    damage_head(settings, store, 2)
    with caplog.at_level(logging.ERROR):
        process = start()
    assert process.answers_with(1)
    assert "version.load_failed" in caplog.text
    (worker,) = live(store)
    assert (worker.version, len(worker.failed)) == (1, 1)


def test_worker_without_a_loadable_version_does_not_start(store: Store, settings: Settings) -> None:
    damage_head(settings, store, 1)
    with pytest.raises(StoreError, match=r"no version can be loaded: .*restore a backup"):
        Process(store).swap.start()


def test_version_whose_store_comes_back_is_loaded_late(
    store: Store, settings: Settings, start: Callable[[], Process]
) -> None:
    process = start()
    path = head_of(settings, store, 2)
    hidden = path.rename(path.with_suffix(".hidden"))
    activate_behind_its_back(store, 2)
    wait_until(lambda: any("is missing" in reason for reason in problems(store)), SOON_S)
    assert process.answers_with(1)
    assert not process.swap.is_stale
    hidden.rename(path)
    wait_until(lambda: process.answers_with(2), SOON_S)
    wait_until(lambda: problems(store) == [], SOON_S)


def test_version_whose_store_stays_away_is_given_up(
    store: Store,
    settings: Settings,
    start: Callable[[], Process],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "RETRY_AFTER_S", 0.1)
    monkeypatch.setattr(heartbeat, "GIVE_UP_AFTER_S", 0.5)
    process = start()
    tries = count_loads(process, monkeypatch)
    path = head_of(settings, store, 2)
    path.unlink()
    activate_behind_its_back(store, 2)
    wait_until(lambda: is_given_up(process), SOON_S)
    assert 1 < len(tries) < 10
    tried = len(tries)
    seen = live(store)[0].last_seen
    wait_until(lambda: live(store)[0].last_seen > seen, SOON_S)  # after ten more polls
    assert len(tries) == tried
    assert process.answers_with(1)
    promote(store, 3)
    wait_until(lambda: process.answers_with(3), SOON_S)


def test_champion_whose_store_comes_back_after_the_start_is_loaded_late(
    store: Store, settings: Settings, start: Callable[[], Process]
) -> None:
    tiny.activate(store, 2, time.time())
    path = head_of(settings, store, 2)
    hidden = path.rename(path.with_suffix(".hidden"))
    process = start()
    assert process.answers_with(1)
    hidden.rename(path)
    wait_until(lambda: process.answers_with(2), SOON_S)


@pytest.mark.parametrize("who_writes", ["worker", "trainer"])
def test_label_to_live_is_observed_once_for_each_label(
    store: Store,
    start: Callable[[], Process],
    monkeypatch: pytest.MonkeyPatch,
    who_writes: str,
) -> None:
    acknowledged = time.time() - 50
    for seed in range(3):
        image = images.png(48, 48, seed)
        intake.label_image(store, image, LabelRequest("cat"), Limits(), acknowledged)
    with store.db.read() as conn:
        snapshot = labels.newest_id(conn)
    number = tiny.publish(store, tiny.make_manifest(store.blobs, snapshot=snapshot))
    if who_writes == "trainer":
        monkeypatch.setattr(executor.Executor, "_advance", lambda one: one._heartbeat.send())
    processes = [start(), start()]
    count, total = (sample(f"evergreen_label_to_live_seconds_{x}") for x in ("count", "sum"))
    for version in (number, 1, number):  # only the first time is new
        promote(store, version)

        def is_there(version: int = version) -> bool:
            promotions.advance_committed(store.db)
            return all(p.answers_with(version) for p in processes)

        wait_until(is_there, SOON_S)
    wait_until(lambda: sample("evergreen_label_to_live_seconds_count") > count, SOON_S)
    assert sample("evergreen_label_to_live_seconds_count") - count == 3
    waited = sample("evergreen_label_to_live_seconds_sum") - total
    assert 150 < waited < 150 + 3 * SOON_S


def test_worker_survives_a_database_that_fails_for_a_while(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()

    def lost(*_: object) -> None:
        raise StoreError("the database is gone")

    with monkeypatch.context() as patched:
        patched.setattr(promotions, "pending", lost)
        time.sleep(0.3)
        assert process.answers_with(1)
    promote(store, 2)
    wait_until(lambda: process.answers_with(2), SOON_S)


def test_stale_worker_polls_before_it_answers(store: Store, start: Callable[[], Process]) -> None:
    """It was suspended during the whole swap, and counted as dead, so nobody waited for it."""
    process = start()
    process.swap.stop()
    with store.db.write() as conn:
        promotions.request(conn, 2, who="test", why="test", now=time.time())
        assert promotions.advance(conn, time.time()) is not None
    wait_until(lambda: process.swap.is_stale, SOON_S)
    assert process.answers_with(1)
    process.swap.ensure_fresh()
    assert process.answers_with(2)
    assert not process.swap.is_stale


def test_worker_keeps_serving_without_the_database(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    process.swap.stop()
    wait_until(lambda: process.swap.is_stale, SOON_S)

    def gone(*_: object, **__: object) -> None:
        raise StoreError("the database is gone")

    monkeypatch.setattr(type(store.db), "read", gone)
    process.swap.ensure_fresh()
    assert not process.swap.is_stale
    assert process.answers_with(1)


def test_activation_lead_lets_every_fresh_worker_see_it_first() -> None:
    assert swap_module.TICK_S < follower.FRESH_S < promotions.ACTIVATION_LEAD_S
