from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert, update

from core import champion, intake, labels, versions, workers
from core.champion import Promotion
from core.errors import StoreError
from core.intake import LabelRequest
from core.manifest import Golden
from core.pixels import Limits
from core.predictions import new_id
from core.schema import activations, promotions
from core.servable import Runtime, Servable
from core.settings import Settings
from core.store import Store
from core.workers import Worker
from service import following
from service import swap as swap_module
from service.slot import Slot
from service.swap import Swap
from tests import images, tiny
from tests.service.taught import wait_until

# Waits for real moments, or repeats thousands of histories: not in `make check`.
pytestmark = pytest.mark.slow

# A tick (0.1 s), loading, the lead of an activation (0.4 s), and a machine that is busy.
SOON_S = 10.0


class WatchedSlot(Slot):
    """Remembers for which moments it was given versions."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[int, float]] = []

    def put_at(self, servable: Servable, activate_at: float) -> None:
        self.given.append((servable.version, activate_at))
        super().put_at(servable, activate_at)


class Process:
    """What of a serving process takes part in a swap; several live in the one of the test."""

    def __init__(self, store: Store) -> None:
        self.slot = WatchedSlot()
        self.swap = Swap(store, Runtime("cpu"), self.slot)

    def answers_with(self, version: int) -> bool:
        return self.slot.version == version


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    """Version 1 is champion; versions 2 and 3 are published."""
    for seed in range(1, 4):
        tiny.publish(sqlite_store, tiny.make_manifest(sqlite_store.blobs, head_seed=seed))
    tiny.activate(sqlite_store, 1)
    return sqlite_store


@pytest.fixture
def start(store: Store) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start_one() -> Process:
        process = Process(store)
        process.swap.start()
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.swap.stop()


def promote(store: Store, version: int) -> Promotion:
    with store.db.write() as conn:
        return champion.request(conn, version, who="test", why="test", now=time.time())


def state_of(store: Store, promotion: Promotion) -> Promotion:
    with store.db.read() as conn:
        return champion.promotion(conn, promotion.id)


def live(store: Store) -> list[Worker]:
    with store.db.read() as conn:
        return workers.live(conn, time.time(), "serving")


def activate_behind_its_back(store: Store, version: int) -> None:
    """As if nobody had waited for the workers: they were taken for dead."""
    now = time.time()
    with store.db.write() as conn:
        wish = champion.request(conn, version, who="test", why="test", now=now)
        values = {"version": version, "promotion_id": wish.id, "who": "test", "why": "test"}
        conn.execute(insert(activations).values(**values, activate_at=now, created_at=now))
        conn.execute(update(promotions).values(state="activated"))


def problems(store: Store) -> list[str]:
    return [told for worker in live(store) for told in worker.failed.values()]


def count_loads(process: Process, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions that it tries to load from now on."""
    tries: list[int] = []
    load = process.swap.loaded.load

    def counted(number: int) -> Servable:
        tries.append(number)
        return load(number)

    monkeypatch.setattr(process.swap.loaded, "load", counted)
    return tries


def head_of(settings: Settings, store: Store, version: int) -> Path:
    with store.db.read() as conn:
        digest = versions.get(conn, version).head
    return Path(settings.resolved_blob_url) / digest[:2] / digest


def damage_head(settings: Settings, store: Store, version: int) -> None:
    path = head_of(settings, store, version)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def sample(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


def report(store: Store, **fields: Any) -> None:
    """A worker of another process."""
    known: dict[str, Any] = {
        "id": new_id(),
        "role": "serving",
        "host": workers.this_host(),
        "pid": os.getpid(),
        "provider": "CPUExecutionProvider",
        "version": 1,
        "ready": (1,),
        "started_at": time.time(),
        "last_seen": time.time(),
    }
    with store.db.write() as conn:
        workers.report(conn, Worker(**(known | fields)))


def test_promotion_reaches_every_worker_at_the_same_moment(
    store: Store, start: Callable[[], Process]
) -> None:
    processes = [start(), start()]
    promotion = promote(store, 2)
    wait_until(lambda: all(p.answers_with(2) for p in processes), SOON_S)
    with store.db.read() as conn:
        activation = champion.newest_activation(conn)
    assert activation is not None
    assert activation.promotion_id == promotion.id
    assert [p.slot.given for p in processes] == [[(2, activation.activate_at)]] * 2
    assert state_of(store, promotion).state == "activated"


def test_moment_is_chosen_when_the_slowest_worker_has_loaded(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from before it loaded, the moment would be over before the others know of it."""
    start()
    slowest = start()
    load = slowest.swap.loaded.load
    loaded_at = 0.0

    def load_slowly(number: int) -> Servable:
        nonlocal loaded_at
        time.sleep(2 * champion.LEAD_S)
        servable = load(number)
        loaded_at = time.time()
        return servable

    monkeypatch.setattr(slowest.swap.loaded, "load", load_slowly)
    promote(store, 2)
    wait_until(lambda: slowest.answers_with(2), SOON_S)
    with store.db.read() as conn:
        activation = champion.newest_activation(conn)
    assert activation is not None
    assert activation.created_at >= loaded_at > 0.0
    assert activation.activate_at == activation.created_at + champion.LEAD_S


def test_nobody_answers_with_the_old_version_after_somebody_with_the_new(
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


def test_worker_that_died_does_not_hold_up_the_others(
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


def test_worker_that_starts_in_the_midst_takes_part(
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


def test_worker_that_starts_before_the_moment_waits_for_it(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champion, "LEAD_S", 1.5)
    report(store, ready=(1, 2))
    promote(store, 2)
    with store.db.write() as conn:
        activation = champion.advance(conn, time.time())
    assert activation is not None
    process = start()
    assert process.slot.given == [(2, activation.activate_at)]
    if time.time() < activation.activate_at - 0.2:  # a busy machine may be past it
        assert process.answers_with(1)
    wait_until(lambda: process.answers_with(2), SOON_S)


def test_change_decided_while_a_worker_starts_is_not_missed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(store)
    said = process.swap._presence.tell

    def change_then_say() -> None:
        monkeypatch.undo()
        tiny.activate(store, 2, time.time())  # nobody knows yet that this worker is there
        said()

    monkeypatch.setattr(process.swap._presence, "tell", change_then_say)
    process.swap.start()
    try:
        assert process.answers_with(2)
    finally:
        process.swap.stop()


def test_damaged_version_fails_and_the_old_one_goes_on(
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
    # Each tried at most once, and says so.
    assert 1 <= sample("evergreen_swap_failures_total") - failures <= 2
    assert any("is damaged" in why for w in live(store) for why in w.failed.values())
    with store.db.read() as conn:
        newest = champion.newest_activation(conn)
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


def test_worker_with_nothing_to_answer_with_does_not_start(
    store: Store, settings: Settings
) -> None:
    damage_head(settings, store, 1)
    with pytest.raises(StoreError, match="no version can be loaded"):
        Process(store).swap.start()


def test_version_that_cannot_be_read_for_a_while_is_followed_late(
    store: Store, settings: Settings, start: Callable[[], Process]
) -> None:
    process = start()
    path = head_of(settings, store, 2)
    hidden = path.rename(path.with_suffix(".hidden"))
    activate_behind_its_back(store, 2)
    wait_until(lambda: any("cannot be read" in told for told in problems(store)), SOON_S)
    assert process.answers_with(1)
    assert not process.swap.is_stale
    hidden.rename(path)
    wait_until(lambda: process.answers_with(2), SOON_S)
    wait_until(lambda: problems(store) == [], SOON_S)


def test_version_that_stays_away_is_given_up(
    store: Store,
    settings: Settings,
    start: Callable[[], Process],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "_TRY_AGAIN_S", 0.1)
    monkeypatch.setattr(following, "GIVE_UP_AFTER_S", 0.5)
    process = start()
    tries = count_loads(process, monkeypatch)
    path = head_of(settings, store, 2)
    path.unlink()
    activate_behind_its_back(store, 2)
    wait_until(lambda: process.swap._following._followed > 1, SOON_S)
    assert 1 < len(tries) < 10
    tried = len(tries)
    seen = live(store)[0].last_seen
    wait_until(lambda: live(store)[0].last_seen > seen, SOON_S)  # after ten more looks
    assert len(tries) == tried
    assert process.answers_with(1)
    promote(store, 3)
    wait_until(lambda: process.answers_with(3), SOON_S)


def test_champion_that_cannot_be_read_at_the_start_is_followed_late(
    store: Store, settings: Settings, start: Callable[[], Process]
) -> None:
    tiny.activate(store, 2, time.time())
    path = head_of(settings, store, 2)
    hidden = path.rename(path.with_suffix(".hidden"))
    process = start()
    assert process.answers_with(1)
    hidden.rename(path)
    wait_until(lambda: process.answers_with(2), SOON_S)


def test_bundle_that_is_wrong_in_a_way_of_its_own_fails_like_any_other(
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


def test_newer_wish_replaces_one_that_waits(store: Store, start: Callable[[], Process]) -> None:
    process = start()
    first, second = promote(store, 2), promote(store, 3)
    wait_until(lambda: process.answers_with(3), SOON_S)
    assert (state_of(store, first).state, state_of(store, second).state) == (
        "superseded",
        "activated",
    )


def test_versions_that_are_over_are_let_go(store: Store, start: Callable[[], Process]) -> None:
    process = start()
    for version in (2, 3, 1):
        promote(store, version)
        wait_until(lambda version=version: process.answers_with(version), SOON_S)  # type: ignore[misc]
    wait_until(lambda: [w.ready for w in live(store)] == [(1,)], SOON_S)


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
        monkeypatch.setattr(swap_module.Swap, "_advance", lambda *_: None)
    processes = [start(), start()]
    count, total = (sample(f"evergreen_label_to_live_seconds_{x}") for x in ("count", "sum"))
    for version in (number, 1, number):  # only the first time is new
        promote(store, version)

        def is_there(version: int = version) -> bool:
            champion.move_on(store.db)
            return all(p.answers_with(version) for p in processes)

        wait_until(is_there, SOON_S)
    wait_until(lambda: sample("evergreen_label_to_live_seconds_count") > count, SOON_S)
    assert sample("evergreen_label_to_live_seconds_count") - count == 3
    waited = sample("evergreen_label_to_live_seconds_sum") - total
    assert 150 < waited < 150 + 3 * SOON_S


def test_database_that_fails_for_a_while_is_survived(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()

    def lost(*_: object) -> None:
        raise StoreError("the database is gone")

    with monkeypatch.context() as patched:
        patched.setattr(champion, "waiting", lost)
        time.sleep(0.3)
        assert process.answers_with(1)
    promote(store, 2)
    wait_until(lambda: process.answers_with(2), SOON_S)


def test_worker_that_was_held_up_looks_again_before_it_answers(
    store: Store, start: Callable[[], Process]
) -> None:
    """It slept through the whole change: taken for dead, so that nobody waited for it."""
    process = start()
    process.swap.stop()
    with store.db.write() as conn:
        champion.request(conn, 2, who="test", why="test", now=time.time())
        assert champion.advance(conn, time.time()) is not None
    wait_until(lambda: process.swap.is_stale, SOON_S)
    assert process.answers_with(1)
    process.swap.confirm()
    assert process.answers_with(2)
    assert not process.swap.is_stale


def test_worker_goes_on_answering_without_the_database(
    store: Store, start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start()
    process.swap.stop()
    wait_until(lambda: process.swap.is_stale, SOON_S)

    def gone(*_: object, **__: object) -> None:
        raise StoreError("the database is gone")

    monkeypatch.setattr(type(store.db), "read", gone)
    process.swap.confirm()
    assert not process.swap.is_stale
    assert process.answers_with(1)


def test_an_activation_leaves_a_fresh_worker_time_to_see_it() -> None:
    assert swap_module.TICK_S < following.FRESH_S < champion.LEAD_S
