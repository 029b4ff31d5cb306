"""A disk that is full for a while: no process dies, every prediction is answered, and no
acknowledged label is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import images
from tests.support.server import Server, running
from tests.support.small_disk import filled, small_disk
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end


class Load:
    """Labels and predicts one new image after another, and asks for the metrics."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: list[int] = []
        self.statuses: Counter[Any] = Counter()

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            form = {"label": (None, f"class {number % 2}"), "image": images.png(64, 48, number)}
            try:
                answer = self._server.http.post("/v1/feedback", files=form)
                if answer.status_code == 201:
                    self.acknowledged.append(answer.json()["id"])
                self.statuses[answer.status_code] += 1
                answer = self._server.http.post(
                    "/v1/predict", content=form["image"], headers={"Content-Type": "image/png"}
                )
                self.statuses["predict", answer.status_code] += 1
                self.statuses["metrics", self._server.http.get("/metrics").status_code] += 1
            except httpx.HTTPError as error:
                self.statuses[repr(error)] += 1


def serving(server: Server) -> set[int]:
    return {worker["pid"] for worker in server.status()["workers"]}


def answering(server: Server) -> int:
    pid: int = server.status()["answered_by"]
    return pid


def test_full_disk_stops_no_answer_and_loses_no_label(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 64) as disk,
        running(disk / "home", EVERGREEN_RUN_TRAINER="false") as server,
    ):
        killed, other = serving(server)
        with Load(server) as load:
            wait_until(lambda: len(load.acknowledged) > 20, 30, "labels before the disk is full")
            with filled(disk):
                os.kill(killed, signal.SIGKILL)
                wait_until(lambda: answering(server) not in (killed, other), 60, "a successor")
            so_far = len(load.acknowledged)
            wait_until(lambda: len(load.acknowledged) > so_far + 20, 30, "labels afterwards")
        wait_until(lambda: len(serving(server)) == 2, 20, "both workers")
        assert serving(server) - {killed} > {other}
        num_cut_off = sum(n for key, n in load.statuses.items() if isinstance(key, str))
        assert num_cut_off <= 1, load.statuses  # what the killed worker was answering
        others = {key for key in load.statuses if isinstance(key, tuple)}
        assert others == {("metrics", 200), ("predict", 200)}, load.statuses
        database = sqlite3.connect(server.home / "evergreen.db")
        stored = {number for (number,) in database.execute("SELECT id FROM labels")}
        database.close()
        assert set(load.acknowledged) <= stored
