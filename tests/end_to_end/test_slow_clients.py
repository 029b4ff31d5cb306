"""Clients that send one byte a second, or never read their responses, over real connections.

Every worker serves all other clients meanwhile.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from core.settings import Settings
from core.store.store import Store, open_store
from tests.end_to_end import tagged_versions
from tests.end_to_end.consistency_clients import one_to_each_worker, predict
from tests.support import images, tiny
from tests.support.processes import tree
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end

NUM_SLOW = 50
# Far fewer than the slow clients. If these counted as in flight, others would be refused.
MAX_IN_FLIGHT = 8
NUM_WORKERS = 2
SETTINGS = {"EVERGREEN_MAX_IN_FLIGHT": str(MAX_IN_FLIGHT)}
NUM_CLASSES = 1000
NUM_PIPELINED = 60
IMAGE = images.png(16, 16)
REQUEST = (
    b"POST /v1/predict?top=1000 HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(IMAGE), IMAGE)
)
# Where a request becomes slow: in its headers, or in its body.
IN_HEADERS, IN_BODY = REQUEST.index(b"localhost"), len(REQUEST) - len(IMAGE) + 10


@pytest.fixture(scope="module")
def store(server: Server) -> Iterator[Store]:
    """The champion has so many classes that its responses soon fill a connection."""
    opened = open_store(Settings(home=server.home))
    names = [f"{'a very ' * 50}long name, number {k}" for k in range(NUM_CLASSES)]
    promote(server, tiny.publish(opened, tiny.make_manifest(opened.blobs, names)))
    yield opened
    opened.db.close()


def promote(server: Server, number: int) -> None:
    answer = httpx.put(f"{server.url}/v1/champion", json={"version": number}, timeout=60)
    assert answer.status_code == 200, answer.text


def assert_others_are_served(server: Server, store: Store) -> None:
    """Every worker serves old and new connections, and the champion can change."""
    connections = one_to_each_worker(server)
    champion = tagged_versions.newest_activation(store).version
    for _ in range(20):
        for pid, connection in connections.items():
            assert predict(connection) == (pid, champion)
    number = tagged_versions.publish(store)
    promote(server, number)
    for pid, connection in connections.items():
        assert predict(connection) == (pid, number)
        connection.close()
    promote(server, champion)


class SlowSenders:
    """Connections that each send one byte a second of a request, from `begin` on."""

    def __init__(self, server: Server, begins: list[int]) -> None:
        self.sent = list(begins)
        self.connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in begins]
        for connection, begin in zip(self.connections, begins, strict=True):
            connection.settimeout(60)
            connection.sendall(REQUEST[:begin])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def _drip(self) -> None:
        while not self._stop.wait(1.0):
            for i, connection in enumerate(self.connections):
                connection.sendall(REQUEST[self.sent[i] : self.sent[i] + 1])
                self.sent[i] += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_slow_senders_delay_no_other_client(server: Server, store: Store) -> None:
    begins = list(itertools.islice(itertools.cycle((IN_BODY, IN_HEADERS)), NUM_SLOW))
    slow = SlowSenders(server, begins)
    try:
        assert_others_are_served(server, store)
        for connection in slow.connections:
            assert not has_something_to_read(connection)
        slow.stop()
        # The slow clients get their responses too.
        for connection, sent in zip(slow.connections, slow.sent, strict=True):
            connection.sendall(REQUEST[sent:])
            with connection.makefile("rb") as file:
                assert read_status(file) == 200
    finally:
        slow.stop()
        for connection in slow.connections:
            connection.close()


def test_clients_that_never_read_delay_no_other_client(server: Server, store: Store) -> None:
    unread = []
    try:
        for _ in range(NUM_SLOW):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(60)
            connection.connect(("127.0.0.1", server.port))
            unread.append(connection)
            connection.sendall(NUM_PIPELINED * REQUEST)
            # One after the other, because so many concurrent requests would be refused.
            connection.recv(1, socket.MSG_PEEK)
        until_nothing_is_predicted(server)
        assert num_predicted(server) < NUM_SLOW * NUM_PIPELINED / 2  # the rest are queued
        assert_others_are_served(server, store)
        # The server only waits: a client that reads gets all its responses.
        with unread[0].makefile("rb") as file:
            assert {read_status(file) for _ in range(NUM_PIPELINED)} <= {200, 503}
    finally:
        for connection in unread:
            connection.close()
    assert_others_are_served(server, store)


def test_every_worker_keeps_idle_connections_as_long_as_the_command_says(server: Server) -> None:
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in tree(server.pid)]
    workers = [command for command in commands if b"_bentoml_impl.worker.service" in command]
    assert len(workers) == NUM_WORKERS
    for command in workers:
        assert command[command.index(b"--timeout-keep-alive") + 1] == b"75"


def num_predicted(server: Server) -> float:
    scraped = httpx.get(f"{server.url}/metrics", timeout=30).text
    found = [x for x in scraped.splitlines() if x.startswith("evergreen_predictions_total ")]
    return sum(float(line.split()[1]) for line in found)


def until_nothing_is_predicted(server: Server) -> None:
    counts = [-1.0]

    def is_quiet() -> bool:
        counts.append(num_predicted(server))
        return counts[-1] == counts[-2]

    wait_until(is_quiet, tagged_versions.SOON_S, "connections that are full", pause_s=0.5)


def has_something_to_read(connection: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(0))


def read_status(file: BinaryIO) -> int:
    """The status of the next response. `http.client` would read into those that follow."""
    status = int(file.readline().split()[1])
    length = 0
    while (line := file.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    assert len(file.read(length)) == length
    return status
