"""The parts of serving processes that take part in a swap, and an installation they share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert, update

from core.ids import new_id
from core.models.backbones import Runtime
from core.models.servable import Servable
from core.registry import promotions, versions, workers
from core.registry.promotions import Activation, Promotion
from core.registry.workers import Worker
from core.settings import Settings
from core.store import schema
from core.store.clock import DatabaseClock
from core.store.store import Store
from core.system.host import pid_space, this_host
from service.swap.slot import Slot
from service.swap.swap import Swap
from tests.support import tiny

# A tick (0.1 s), loading, the lead of an activation (0.3 s), and a machine that is busy.
SOON_S = 10.0


class RecordingSlot(Slot):
    """Remembers which versions it was given, and for which times."""

    def __init__(self, clock: DatabaseClock) -> None:
        super().__init__(clock, clock.error_s)
        self.given: list[tuple[int, float]] = []

    def put_at(self, servable: Servable, activation: Activation) -> bool:
        is_new = super().put_at(servable, activation)
        if is_new:
            self.given.append((servable.version, activation.activate_at))
        return is_new


class Process:
    """The parts of a serving process that take part in a swap. A test has several of them."""

    def __init__(self, store: Store) -> None:
        self.slot = RecordingSlot(store.db.clock)
        self.swap = Swap(store, Runtime("cpu"), self.slot)

    def answers_with(self, version: int) -> bool:
        return self.slot.version == version


def publish_three(store: Store) -> Store:
    """Version 1 is champion; versions 2 and 3 are published."""
    for seed in range(1, 4):
        tiny.publish(store, tiny.make_manifest(store.blobs, head_seed=seed))
    tiny.activate(store, 1)
    return store


@contextmanager
def starting(store: Store) -> Iterator[Callable[[], Process]]:
    """A function that starts a process. All are stopped at the end."""
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
        return promotions.request(conn, version, who="test", why="test", now=time.time())


def state_of(store: Store, promotion: Promotion) -> Promotion:
    with store.db.read() as conn:
        return promotions.promotion(conn, promotion.id)


def live(store: Store) -> list[Worker]:
    with store.db.read() as conn:
        return workers.live(conn, time.time(), "serving")


def activate_behind_its_back(store: Store, version: int, ahead_s: float = 0.0) -> None:
    """Write an activation as if all workers counted as dead."""
    now = time.time()
    with store.db.write() as conn:
        promotion = promotions.request(conn, version, who="test", why="test", now=now)
        before = promotions.newest_activation(conn)
        values = {"version": version, "promotion_id": promotion.id, "who": "test", "why": "test"}
        values |= {"before_id": before.id if before else None}
        conn.execute(
            insert(schema.activations).values(**values, activate_at=now + ahead_s, created_at=now)
        )
        conn.execute(update(schema.promotions).values(state="activated"))


def problems(store: Store) -> list[str]:
    return [reason for worker in live(store) for reason in worker.failed.values()]


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
        "host": this_host(),
        "pid": os.getpid(),
        "provider": "CPUExecutionProvider",
        "version": 1,
        "ready": (1,),
        "started_at": time.time(),
        "last_seen": time.time(),
        "pid_space": pid_space(),
    }
    with store.db.write() as conn:
        workers.report(conn, Worker(**(known | fields)))
