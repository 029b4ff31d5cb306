"""Changes of champion on machines whose clocks differ, or are set meanwhile.

Each replica is of another machine, as far as it can tell: it has a clock and a database of its own.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from core.registry import activations, workers
from core.registry.wait import wait_for_promotion
from core.store.database import Database
from core.store.store import Store
from service.swap.follower import FRESH_S
from service.swap.swap import TICK_S
from tests.service.swap_worker import (
    SOON_S,
    Process,
    activate_behind_its_back,
    live,
    promote,
    publish_three,
    starting,
)
from tests.support import tiny
from tests.support.wait import wait_until

# Waits in real time: not in `make check`.
pytestmark = pytest.mark.slow

Wall = Callable[[], float]


@pytest.fixture
def three(store: Store) -> Store:
    publish_three(store)
    # Lately: so the replicas keep to the time in the database, as they do during swaps.
    tiny.activate(store, 1, time.time())
    return store


@pytest.fixture
def url(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> str:
    if store.db.is_sqlite:
        return f"sqlite:///{tmp_path / 'home' / 'evergreen.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


class Replica:
    def __init__(self, store: Store, process: Process) -> None:
        self.store = store
        self.process = process

    def answer(self) -> int:
        """As a prediction does."""
        if self.process.swap.is_stale:
            self.process.swap.ensure_fresh()
        return self.process.slot.current().version


@contextmanager
def replicas(url: str, store: Store, walls: Sequence[Wall]) -> Iterator[list[Replica]]:
    with ExitStack() as opened:
        found = []
        for wall in walls:
            db = Database(url, wall=wall)
            opened.callback(db.close)
            db.ensure_schema()
            own = Store(db, store.blobs)
            found.append(Replica(own, opened.enter_context(starting(own))()))
        yield found


@contextmanager
def asked_in_turn(asked: Sequence[Replica]) -> Iterator[list[int]]:
    """What a client sees whose requests go to one replica after the other: each change."""
    seen = [asked[0].answer()]
    is_over = threading.Event()

    def ask() -> None:
        for replica in itertools.cycle(asked):
            version = replica.answer()
            if version != seen[-1]:
                seen.append(version)
            if is_over.wait(0.0005):
                return

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield seen
        finally:
            is_over.set()
            asking.result(SOON_S)


def activated(store: Store) -> list[int]:
    """The versions, oldest first. One that follows itself counts once."""
    with store.db.read() as conn:
        moves = [each.version for each in reversed(activations.history(conn, 100))]
    return [version for version, _ in itertools.groupby(moves)]


def promote_from(replica: Replica, version: int) -> bool:
    promotion = promote(replica.store, version)
    replica.process.swap.wake()
    return wait_for_promotion(replica.store.db, promotion.id).activate_at is not None


def settle(asked: Sequence[Replica], store: Store) -> None:
    live_version = activated(store)[-1]
    wait_until(lambda: all(each.answer() == live_version for each in asked), SOON_S)
    time.sleep(3 * TICK_S)


def test_machines_whose_clocks_differ_change_versions_once_a_promotion(
    three: Store, url: str
) -> None:
    walls = [lambda by=by: time.time() + by for by in (2.0, -2.0, 0.0)]  # type: ignore[misc]
    with replicas(url, three, walls) as asked, asked_in_turn(asked) as seen:
        for i, version in enumerate((2, 1, 3, 2, 3, 1, 2)):
            assert promote_from(asked[i % 3], version)
        settle(asked, three)
    assert activated(three) == [1, 2, 1, 3, 2, 3, 1, 2]
    assert seen == activated(three)


def test_concurrent_promotions_and_rollbacks_of_skewed_machines_never_flip(
    three: Store, url: str
) -> None:
    walls = [lambda by=by: time.time() + by for by in (2.0, -2.0)]  # type: ignore[misc]
    rng = random.Random(0)

    def promote_some(replica: Replica) -> None:
        for _ in range(4):
            time.sleep(0.2 * rng.random())
            promote_from(replica, rng.choice((1, 2, 3)))

    with replicas(url, three, walls) as asked, asked_in_turn(asked) as seen:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(promote_some, asked))
        settle(asked, three)
    assert seen == activated(three)
    assert len(seen) > 2


def test_clock_that_is_set_during_swaps_neither_freezes_nor_flips_versions(
    three: Store, url: str
) -> None:
    step = [0.0]
    is_over = threading.Event()

    def set_clock() -> None:
        for by in itertools.cycle((3600.0, 0.0, -3600.0, 0.0)):
            step[0] = by
            if is_over.wait(0.11):
                return

    walls: list[Wall] = [lambda: time.time() + step[0]] * 2
    with (
        replicas(url, three, walls) as asked,
        asked_in_turn(asked) as seen,
        ThreadPoolExecutor(1) as pool,
    ):
        setting = pool.submit(set_clock)
        for i, version in enumerate((2, 1, 3, 2)):
            began = time.monotonic()
            assert promote_from(asked[i % 2], version)
            assert time.monotonic() - began < SOON_S
        is_over.set()
        setting.result(SOON_S)
        settle(asked, three)
    assert seen == activated(three) == [1, 2, 1, 3, 2]


def test_worker_that_was_held_up_serves_what_the_others_serve(
    sqlite_store: Store,
) -> None:
    store = publish_three(sqlite_store)
    with starting(store) as start:
        replica = Replica(store, start())
        with replica.process.swap._follower._lock:
            time.sleep(FRESH_S)
            activate_behind_its_back(store, 2)
            activate_behind_its_back(store, 3, ahead_s=1.0)
        assert replica.answer() == 2
        wait_until(lambda: replica.answer() == 3, SOON_S)


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_worker_of_a_machine_whose_clock_is_wrong_is_live(
    three: Store, url: str, by: float
) -> None:
    with replicas(url, three, [time.time, lambda: time.time() + by]) as (right, wrong):
        for each in (right, wrong):
            with each.store.db.read() as conn:
                assert len(workers.live(conn, each.store.db.clock(), "serving")) == 2
        assert len(live(three)) == 2
        assert abs(wrong.store.db.clock.offset.seconds - by) < 0.1
        assert not right.store.db.clock.offset.is_problem
        assert wrong.store.db.clock.offset.is_problem
