"""A change of champion in several workers: together, in order, and only if all can load it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.ids import new_id
from core.models.manifest import Golden
from core.models.servable import Servable
from core.registry import promotions
from core.settings import Settings
from core.store.store import Store
from service.swap.swap import TICK_S
from tests.service.swap_worker import (
    SOON_S,
    Process,
    activate_behind_its_back,
    count_loads,
    damage_head,
    live,
    promote,
    publish_three,
    report,
    sample,
    state_of,
)
from tests.support import tiny
from tests.support.wait import wait_until

# Waits in real time: not in `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return publish_three(sqlite_store)


def test_promotion_reaches_every_worker_at_the_same_time(
    store: Store, start: Callable[[], Process]
) -> None:
    processes = [start(), start()]
    promotion = promote(store, 2)
    wait_until(lambda: all(p.answers_with(2) for p in processes), SOON_S)
    with store.db.read() as conn:
        activation = promotions.newest_activation(conn)
    assert activation is not None
    assert activation.promotion_id == promotion.id
    assert [p.slot.given for p in processes] == [[(2, activation.activate_at)]] * 2
    assert state_of(store, promotion).state == "activated"


def test_activation_time_is_chosen_when_the_slowest_worker_has_loaded(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it counted from before the load, it would be over before the others see it."""
    start()
    slowest = start()
    load = slowest.swap.loaded.load
    loaded_at = 0.0

    def load_slowly(number: int) -> Servable:
        nonlocal loaded_at
        time.sleep(2 * promotions.ACTIVATION_LEAD_S)
        servable = load(number)
        loaded_at = time.time()
        return servable

    monkeypatch.setattr(slowest.swap.loaded, "load", load_slowly)
    promote(store, 2)
    wait_until(lambda: slowest.answers_with(2), SOON_S)
    with store.db.read() as conn:
        activation = promotions.newest_activation(conn)
    assert activation is not None
    assert activation.created_at >= loaded_at > 0.0
    assert activation.activate_at == activation.created_at + promotions.ACTIVATION_LEAD_S


def test_no_worker_serves_the_old_version_after_another_serves_the_new_one(
    store: Store, start: Callable[[], Process]
) -> None:
    processes = [start(), start()]
    for version in (2, 1, 3):
        promote(store, version)
        deadline = time.monotonic() + SOON_S
        seen: list[int | None] = []
        # In turn, as a client that is sent to one worker after the other.
        while seen[-4:] != [version] * 4:
            seen += [p.slot.version for p in processes]
            assert time.monotonic() < deadline
            time.sleep(0.0005)  # or it would hold the GIL while others load
        first_new = seen.index(version)
        assert set(seen[first_new:]) == {version}


def test_promotion_waits_for_a_worker_that_is_not_ready(
    store: Store, start: Callable[[], Process]
) -> None:
    slow = new_id()
    report(store, id=slow)
    process = start()
    promotion = promote(store, 2)
    wait_until(lambda: any(2 in w.ready for w in live(store)), SOON_S)
    time.sleep(0.3)
    assert state_of(store, promotion).state == "waiting"
    assert process.answers_with(1)
    report(store, id=slow, ready=(1, 2))
    wait_until(lambda: process.answers_with(2), SOON_S)


def test_dead_worker_does_not_hold_up_the_others(
    store: Store, start: Callable[[], Process]
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    report(store, pid=gone.pid)
    process = start()
    promote(store, 2)
    wait_until(lambda: process.answers_with(2), SOON_S)


def test_worker_that_left_does_not_hold_up_the_others(
    store: Store, start: Callable[[], Process]
) -> None:
    first, second = start(), start()
    first.swap.stop()
    assert len(live(store)) == 1
    promote(store, 2)
    wait_until(lambda: second.answers_with(2), SOON_S)


def test_worker_that_starts_during_a_promotion_takes_part(
    store: Store, start: Callable[[], Process]
) -> None:
    slow = new_id()
    report(store, id=slow)
    first = start()
    promotion = promote(store, 2)
    wait_until(lambda: any(2 in w.ready for w in live(store)), SOON_S)
    second = start()
    assert second.answers_with(1)
    report(store, id=slow, ready=(1, 2))
    wait_until(lambda: first.answers_with(2) and second.answers_with(2), SOON_S)
    assert first.slot.given == second.slot.given
    assert state_of(store, promotion).state == "activated"


def test_damaged_version_fails_and_the_old_one_keeps_serving(
    store: Store, settings: Settings, start: Callable[[], Process]
) -> None:
    processes = [start(), start()]
    damage_head(settings, store, 2)
    failures = sample("evergreen_swap_failures_total")
    promotion = promote(store, 2)
    wait_until(lambda: state_of(store, promotion).state != "waiting", SOON_S)
    ended = state_of(store, promotion)
    assert ended.state == "failed"
    assert ended.error is not None
    assert "is damaged" in ended.error
    assert str(os.getpid()) in ended.error
    time.sleep(0.5)
    assert all(p.answers_with(1) for p in processes)
    assert all(p.slot.given == [] for p in processes)
    # Each worker tried at most once, and counts that.
    assert 1 <= sample("evergreen_swap_failures_total") - failures <= 2
    assert any("is damaged" in why for w in live(store) for why in w.failed.values())
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
    assert newest is not None
    assert newest.version == 1


def test_good_version_follows_a_damaged_one(
    store: Store, settings: Settings, start: Callable[[], Process]
) -> None:
    process = start()
    damage_head(settings, store, 2)
    promotion = promote(store, 2)
    wait_until(lambda: state_of(store, promotion).state == "failed", SOON_S)
    promote(store, 3)
    wait_until(lambda: process.answers_with(3), SOON_S)


def test_version_that_raises_an_unknown_error_fails_like_any_other(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tiny.make_manifest(store.blobs)
    wrong = replace(manifest, golden=Golden(0, ("no number",)))  # type: ignore[arg-type]
    number = tiny.publish(store, wrong)
    process = start()
    tries = count_loads(process, monkeypatch)
    promotion = promote(store, number)
    wait_until(lambda: state_of(store, promotion).state == "failed", SOON_S)
    assert "no number" in str(state_of(store, promotion).error)
    assert tries == [number]
    assert process.answers_with(1)


def test_newer_request_supersedes_the_pending_promotion(
    store: Store, start: Callable[[], Process]
) -> None:
    process = start()
    first, second = promote(store, 2), promote(store, 3)
    wait_until(lambda: process.answers_with(3), SOON_S)
    assert (state_of(store, first).state, state_of(store, second).state) == (
        "superseded",
        "activated",
    )


def test_versions_that_nothing_needs_are_unloaded(
    store: Store, start: Callable[[], Process]
) -> None:
    process = start()
    for version in (2, 3, 1):
        promote(store, version)
        wait_until(lambda version=version: process.answers_with(version), SOON_S)  # type: ignore[misc]
    wait_until(lambda: [w.ready for w in live(store)] == [(1,)], SOON_S)


def test_version_before_stays_loaded_while_a_promotion_is_pending(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    report(store, ready=(1, 2))  # another worker, which never loads version 3
    tries = count_loads(process, monkeypatch)
    activate_behind_its_back(store, 2)
    promote(store, 3)
    wait_until(lambda: process.answers_with(2) and 3 in process.swap.loaded, SOON_S)
    time.sleep(3 * TICK_S)
    assert process.swap.loaded.numbers == (1, 2, 3)
    assert tries.count(1) == 0
