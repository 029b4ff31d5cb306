"""The whole loop with a real `bentoml serve`, two workers and real images, under load."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.digits import digits
from tests.support.learning import measure_accuracy, send_labels, wait_until_live
from tests.support.server import Server, answers_of_every_worker, running
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end

JUDGES, POOL = digits()[:100], digits()[100:]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    # One run after a lesson, on all of it: what the gate decides is then the same every time.
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[triggers]\nafter_labels = 0\nquiet_period_s = 1.5\n")
    with running(tmp_path / "home", EVERGREEN_RECIPE=str(recipe)) as server:
        yield server


class Load:
    """Clients that predict without pause, over kept-alive connections, and keep every answer."""

    def __init__(self, server: Server, num_clients: int = 3) -> None:
        self.answers: list[tuple[float, float, int, int | None]] = []
        self._server = server
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(num_clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, i: int) -> None:
        image = JUDGES[i].image
        with httpx.Client(timeout=30) as client:
            while not self._stop.is_set():
                sent = time.monotonic()
                try:
                    response = client.post(
                        f"{self._server.url}/v1/predict",
                        content=image,
                        headers={"Content-Type": "image/png"},
                    )
                except httpx.HTTPError:
                    self.answers.append((sent, time.monotonic(), 0, None))
                    continue
                version = response.json().get("version") if response.is_success else None
                self.answers.append((sent, time.monotonic(), response.status_code, version))


def test_labels_become_versions_under_load_and_rollback_restores_the_old_answers(
    server: Server,
) -> None:
    image = JUDGES[0].image
    first = answers_of_every_worker(server, image, lambda a: a["version"] == 1, 20)
    with Load(server) as load:
        newest = send_labels(server, POOL[:60], clients=1)
        seconds, run = wait_until_live(server, newest, JUDGES[0])
        assert seconds is not None, run["reason"]
        before_more = answers_of_every_worker(
            server, image, lambda a: a["version"] == run["version"], 20
        )
        few = measure_accuracy(server, JUDGES)

        newest = send_labels(server, POOL[60:400], clients=1)
        seconds, second = wait_until_live(server, newest, JUDGES[0])
        assert seconds is not None, second["reason"]
        many = measure_accuracy(server, JUDGES)

        httpx.put(
            f"{server.url}/v1/champion", json={"version": run["version"]}, timeout=30
        ).raise_for_status()
        after_rollback = answers_of_every_worker(server, image, lambda a: True, 20)

    statuses = Counter(status for _, _, status, _ in load.answers)
    assert set(statuses) == {200}, statuses
    assert len(load.answers) > 100
    assert_never_old_after_new(load)
    assert few > 0.5
    assert many > max(few, 0.85)
    for answers in (before_more, after_rollback):
        assert len(answers) == 2
    assert distributions(after_rollback) == distributions(before_more)

    httpx.put(f"{server.url}/v1/champion", json={"version": 1}, timeout=30).raise_for_status()
    again = answers_of_every_worker(server, image, lambda a: True, 20)
    assert distributions(again) == distributions(first)


def test_the_trainer_is_started_again_after_it_was_killed(server: Server) -> None:
    child = _trainer_pid(server)
    os.kill(child, signal.SIGKILL)
    newest = send_labels(server, POOL[:30], clients=1)
    seconds, run = wait_until_live(server, newest, JUDGES[0])
    assert seconds is not None, run["reason"]
    assert _trainer_pid(server) != child


def test_a_serving_worker_that_is_killed_comes_back_with_the_live_version(server: Server) -> None:
    newest = send_labels(server, POOL[:30], clients=1)
    seconds, run = wait_until_live(server, newest, JUDGES[0])
    assert seconds is not None, run["reason"]
    victim = server.status()["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)

    def is_back() -> bool:
        workers = server.status()["workers"]
        return len(workers) == 2 and victim not in [w["pid"] for w in workers]

    wait_until(lambda: _quietly(is_back), 40, "a new worker")
    assert {w["version"] for w in server.status()["workers"]} == {run["version"]}


def distributions(answers: dict[str, dict[str, object]]) -> set[str]:
    """What the workers said, to the last bit, without the prediction's id."""
    return {repr((a["version"], a["label"], a["confidence"], a["top"])) for a in answers.values()}


def assert_never_old_after_new(load: Load) -> None:
    """No request sent after an answer of version n came is answered by a version before n, as far
    as versions only went up."""
    ups = [a for a in load.answers if a[3] is not None]
    highest_end = [version for _, _, _, version in ups if version is not None]
    peak_at = min(end for _, end, _, version in ups if version == max(highest_end))
    rising = sorted((a for a in ups if a[1] <= peak_at), key=lambda a: a[1])
    seen: list[tuple[float, int]] = []
    for sent, end, _, version in rising:
        assert version is not None
        newest_before = max((v for at, v in seen if at < sent), default=0)
        assert version >= newest_before
        seen.append((end, version))


def _trainer_pid(server: Server) -> int:
    import json

    started = [
        json.loads(line)["child"]
        for line in server.log().splitlines()
        if '"event": "trainer.started"' in line
    ]
    return int(started[-1])


def _quietly(condition: object) -> bool:
    try:
        return bool(condition())  # type: ignore[operator]
    except httpx.HTTPError:
        return False
