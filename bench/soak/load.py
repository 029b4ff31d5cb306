"""A steady load: predictions, labels and changes of the champion, each at its own rate."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
from PIL import Image

from tests.support import images
from tests.support.server import Server

_CLASSES = ("red", "blue", "green")
_NUM_PHOTOS = 50
_PNG = {"Content-Type": "image/png"}


class Load:
    """Each request has a connection of its own."""

    def __init__(self, server: Server) -> None:
        self._http = server.http
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._latencies_s: list[float] = []
        self._photos = itertools.cycle([photo(number) for number in range(_NUM_PHOTOS)])
        self._numbers = itertools.count(_NUM_PHOTOS)
        self.counts: Counter[str] = Counter()

    @contextlib.contextmanager
    def running(self, predictions: float, labels: float, swaps: float) -> Iterator[None]:
        """The rates are per second."""
        rates = {self._predict: predictions, self._label: labels, self._swap: swaps}
        threads = [
            threading.Thread(target=self._repeat, args=(task, 1 / rate))
            for task, rate in rates.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def take_latencies(self) -> list[float]:
        """In seconds, since the last call, sorted."""
        with self._lock:
            taken, self._latencies_s = self._latencies_s, []
        return sorted(taken)

    def _repeat(self, task: Callable[[], None], every_s: float) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += every_s
            try:
                task()
            except httpx.HTTPError as error:
                self._count(type(error).__name__)

    def _predict(self) -> None:
        content, _ = next(self._photos)
        began = time.perf_counter()
        answer = self._http.post("/v1/predict", content=content, headers=_PNG)
        seconds = time.perf_counter() - began
        with self._lock:
            self._latencies_s.append(seconds)
        self._count(f"predictions {answer.status_code}")

    def _label(self) -> None:
        content, name = photo(next(self._numbers))
        form = {"label": (None, name), "image": ("a.png", content)}
        answer = self._http.post("/v1/feedback", files=form)
        self._count(f"labels {answer.status_code}")

    def _swap(self) -> None:
        previous = self._http.get("/v1/champion").json()["previous"]
        if previous is not None:
            answer = self._http.put("/v1/champion", json={"version": previous})
            self._count(f"rollbacks {answer.status_code}")

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


def photo(number: int) -> tuple[bytes, str]:
    """A tinted scene, and its class."""
    name = _CLASSES[number % len(_CLASSES)]
    scene = images.scene(120, 96, number)
    return images.encode(Image.blend(scene, Image.new("RGB", scene.size, name), 0.6), "PNG"), name
