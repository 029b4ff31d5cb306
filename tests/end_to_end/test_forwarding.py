"""Clients with kept-alive connections, of which one worker has them all."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.support import images
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end

NUM_WORKERS = 2
NUM_CLIENTS = 8
PHOTO = images.encode(images.scene(640, 480, seed=1), "JPEG")
FORWARDED = "evergreen_forwarded_predictions_total"


class Client:
    """Asks again as soon as it is answered, over one connection."""

    def __init__(self, server: Server) -> None:
        self.statuses: Counter[int | str] = Counter()
        self.answered_by: Counter[int] = Counter()
        self._url = f"{server.url}/v1/predict"
        self._http = httpx.Client(timeout=30)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def ask(self) -> None:
        try:
            response = self._http.post(
                self._url, content=PHOTO, headers={"Content-Type": "image/jpeg"}
            )
        except httpx.HTTPError as error:
            self.statuses[repr(error)] += 1
            return
        self.statuses[response.status_code] += 1
        self.answered_by[int(response.headers["Evergreen-Worker"])] += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._http.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.ask()


@pytest.fixture
def pids(server: Server) -> list[int]:
    def found() -> list[int]:
        return [worker["pid"] for worker in server.status()["workers"]]

    wait_until(lambda: len(found()) == NUM_WORKERS, 60, "every worker")
    return found()


@pytest.fixture
def clients(server: Server, pids: list[int]) -> Iterator[list[Client]]:
    """All connected to the first worker."""
    connected = [Client(server) for _ in range(NUM_CLIENTS)]
    os.kill(pids[1], signal.SIGSTOP)
    try:
        for client in connected:
            client.ask()
    finally:
        os.kill(pids[1], signal.SIGCONT)
    assert all(client.answered_by.keys() == {pids[0]} for client in connected)
    yield connected
    for client in connected:
        client.stop()


def total(server: Server, metric: str) -> float:
    """Of all workers."""
    lines = httpx.get(f"{server.url}/metrics", timeout=10).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{metric} "))


def test_forwarding_loses_nothing_when_the_peer_dies(
    server: Server, pids: list[int], clients: list[Client]
) -> None:
    _, other = pids
    forwarded = total(server, FORWARDED)
    for client in clients:
        client.start()
    wait_until(
        lambda: sum(client.answered_by[other] for client in clients) >= NUM_CLIENTS,
        60,
        "the worker without clients to answer some of their images",
        pause_s=0.001,
    )
    os.kill(other, signal.SIGKILL)
    wait_until(lambda: "forwarding.failed" in server.log(), 60, "one that was asked to be missed")
    assert total(server, FORWARDED) - forwarded >= NUM_CLIENTS
    for client in clients:
        client.stop()
    assert {status for client in clients for status in client.statuses} == {200}
