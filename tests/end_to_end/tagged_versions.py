"""Versions whose responses can be told apart: each has classes named after it.

They are published during a server's run, as a trainer does.
"""

from __future__ import annotations

import json
import time
from collections import Counter

from core.models.manifest import Manifest
from core.registry import promotions, versions, workers
from core.registry.promotions import Activation, Promotion
from core.registry.workers import Worker
from core.store.store import Store
from core.system.host import this_host
from tests.support import tiny
from tests.support.server import Server
from tests.support.wait import wait_until

# Enough for a busy machine too.
SOON_S = 60.0


def manifest(store: Store, *, backbone_seed: int = 0) -> Manifest:
    """The manifest of the next version. The number of its classes differs too."""
    with store.db.read() as conn:
        number = (versions.newest_number(conn) or 0) + 1
    classes = [f"class {k} of version {number}" for k in range(2 + number % 5)]
    return tiny.make_manifest(store.blobs, classes, backbone_seed=backbone_seed, head_seed=number)


def publish(store: Store, *, backbone_seed: int = 0) -> int:
    return tiny.publish(store, manifest(store, backbone_seed=backbone_seed))


def classes_of(store: Store, number: int) -> tuple[str, ...]:
    with store.db.read() as conn:
        return versions.get(conn, number).classes


def request(store: Store, number: int) -> Promotion:
    """Request the promotion of a version, and do not wait for it."""
    with store.db.write() as conn:
        return promotions.request(conn, number, who="test", why="test", now=time.time())


def state_of(store: Store, promotion: Promotion) -> str:
    with store.db.read() as conn:
        return promotions.promotion(conn, promotion.id).state


def newest_activation(store: Store) -> Activation:
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
    assert newest is not None
    return newest


def live(store: Store) -> dict[int, Worker]:
    """The serving processes of this machine, by process id."""
    with store.db.read() as conn:
        serving = workers.live(conn, time.time(), "serving")
    return {worker.pid: worker for worker in serving if worker.host == this_host()}


def until_ready(store: Store, pids: set[int], number: int) -> None:
    wait_until(
        lambda: {pid for pid, worker in live(store).items() if number in worker.ready} >= pids,
        SOON_S,
        f"{pids} to have loaded version {number}",
    )


def until_answering(store: Store, pids: set[int], number: int) -> None:
    wait_until(
        lambda: {pid for pid, worker in live(store).items() if worker.version == number} >= pids,
        SOON_S,
        f"{pids} to answer with version {number}",
    )


def events(server: Server, event: str) -> list[dict[str, object]]:
    """The log lines of this event."""
    lines = server.log().splitlines()
    return [json.loads(line) for line in lines if f'"event": "{event}"' in line]


def count_by_worker(server: Server, event: str, number: int) -> Counter[object]:
    """How often each process has logged the event of a version."""
    return Counter(line["pid"] for line in events(server, event) if line["version"] == number)
