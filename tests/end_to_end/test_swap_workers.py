"""Serving processes that die, pause or start during a promotion."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest

from core.ids import new_id
from core.registry import workers
from core.registry.workers import Worker
from core.store.store import Store
from tests.end_to_end import tagged_versions
from tests.end_to_end.consistency_clients import (
    predict,
    read_prediction,
    versions_answered,
)
from tests.end_to_end.tagged_versions import SOON_S
from tests.support import images
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end

NUM_WORKERS = 3


@pytest.fixture
def pids(store: Store) -> set[int]:
    """All workers, once those that an earlier test killed are back."""
    wait_until(lambda: len(tagged_versions.live(store)) == NUM_WORKERS, SOON_S, "every worker")
    return set(tagged_versions.live(store))


@contextlib.contextmanager
def unready_worker(store: Store) -> Iterator[None]:
    """A worker that never loads the requested version, so that promotions wait for it."""
    worker = Worker(
        id=new_id(),
        role="serving",
        host="another-machine",
        pid=1,
        provider="CPUExecutionProvider",
        version=1,
        ready=(1,),
        started_at=time.time(),
        last_seen=time.time(),
    )
    with store.db.write() as conn:
        workers.report(conn, worker)
    has_left = threading.Event()

    def beat() -> None:
        while not has_left.wait(1.0):
            with store.db.write(durable=False) as conn:
                workers.beat(conn, worker.id, time.time())

    heartbeat = threading.Thread(target=beat)
    heartbeat.start()
    try:
        yield
    finally:
        has_left.set()
        heartbeat.join()
        with store.db.write() as conn:
            workers.leave(conn, worker.id)


def test_worker_killed_before_activation_delays_nobody_and_its_successor_joins(
    server: Server, store: Store, pids: set[int]
) -> None:
    before = tagged_versions.newest_activation(store).version
    number = tagged_versions.publish(store, backbone_seed=1)
    with unready_worker(store):
        promotion = tagged_versions.request(store, number)
        tagged_versions.until_ready(store, pids, number)
        victim, *others = pids
        os.kill(victim, signal.SIGKILL)
        # Its successor starts during the promotion, with the champion and the requested version.
        wait_until(lambda: len(others_of(store, pids)) == 1, SOON_S, "its successor")
        successor = others_of(store, pids)
        tagged_versions.until_ready(store, {*others, *successor}, number)
        assert tagged_versions.state_of(store, promotion) == "waiting"
        assert versions_answered(server) == {before}
    tagged_versions.until_answering(store, {*others, *successor}, number)
    assert versions_answered(server) == {number}
    assert tagged_versions.newest_activation(store).promotion_id == promotion.id


def test_worker_killed_before_it_is_ready_does_not_fail_the_promotion(
    server: Server, store: Store, pids: set[int]
) -> None:
    number = tagged_versions.publish(store, backbone_seed=2)
    victim, *others = pids
    stop(server, victim)
    promotion = tagged_versions.request(store, number)
    tagged_versions.until_ready(store, set(others), number)
    assert tagged_versions.state_of(store, promotion) == "waiting"
    os.kill(victim, signal.SIGKILL)
    # If the others waited for `MAX_WAIT_S`, the promotion would fail.
    tagged_versions.until_answering(store, set(others), number)
    assert tagged_versions.newest_activation(store).promotion_id == promotion.id


def test_worker_paused_during_a_swap_answers_with_the_new_version(
    server: Server, store: Store, pids: set[int]
) -> None:
    """It counts as dead, so the swap does not wait for it. One of its requests began before."""
    number = tagged_versions.publish(store, backbone_seed=3)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SOON_S)
    paused, _ = predict(connection)
    image = images.png(64, 64)
    begin_upload(connection, len(image))
    stop(server, paused)
    try:
        tagged_versions.request(store, number)
        tagged_versions.until_answering(store, pids - {paused}, number)
    finally:
        os.kill(paused, signal.SIGCONT)
    assert finish_upload(connection, image) == (paused, number)
    assert predict(connection) == (paused, number)
    connection.close()
    tagged_versions.until_answering(store, pids, number)


def others_of(store: Store, pids: set[int]) -> set[int]:
    return set(tagged_versions.live(store)) - pids


def stop(server: Server, pid: int) -> None:
    """Pause it while it does not hold the lock of the database, for which all others would wait."""
    for _ in range(20):
        os.kill(pid, signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(server.home / "evergreen.db", timeout=1)) as db:
            try:
                db.execute("BEGIN IMMEDIATE").close()
                db.rollback()
                return
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
    pytest.fail(f"the database is locked whenever worker {pid} is stopped")


def begin_upload(connection: http.client.HTTPConnection, num_bytes: int) -> None:
    """Send the headers, and return when the worker waits for the body."""
    connection.putrequest("POST", "/v1/predict")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", str(num_bytes))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock is not None
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")


def finish_upload(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, int]:
    connection.send(body)
    return read_prediction(connection)
