"""Clients with kept-alive connections, of which one worker had them all."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from bench.server import Server, running, wait_until
from tests import images

pytestmark = pytest.mark.end_to_end

NUM_CLIENTS = 8
PHOTO = images.encode(images.scene(640, 480, seed=1), "JPEG")


class Client:
    """Asks again as soon as it is answered, over one connection for as long as that stays."""

    def __init__(self, server: Server) -> None:
        self.statuses: Counter[int | str] = Counter()
        self.worker = ""
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
        self.worker = response.headers["Evergreen-Worker"]

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


def test_clients_of_one_worker_are_spread_over_both_and_none_sees_an_error(tmp_path: Path) -> None:
    with running(tmp_path / "home", EVERGREEN_TRAINER="false") as server:
        pids = [worker["pid"] for worker in server.status()["workers"]]
        clients = [Client(server) for _ in range(NUM_CLIENTS)]
        os.kill(pids[1], signal.SIGSTOP)
        try:
            for client in clients:
                client.ask()
        finally:
            os.kill(pids[1], signal.SIGCONT)
        assert {client.worker for client in clients} == {str(pids[0])}

        def is_even() -> bool:
            counts = Counter(client.worker for client in clients)
            return min(counts[str(pid)] for pid in pids) >= NUM_CLIENTS // 2 - 1

        try:
            for client in clients:
                client.start()
            wait_until(is_even, 60, "clients to be spread over both workers")
        finally:
            for client in clients:
                client.stop()
        assert sum((client.statuses for client in clients), Counter()).keys() == {200}
        metrics = httpx.get(f"{server.url}/metrics", timeout=10).text
        (moved,) = (
            float(line.split()[-1])
            for line in metrics.splitlines()
            if line.startswith("evergreen_moved_connections_total ")
        )
        assert moved >= NUM_CLIENTS // 2 - 1
