"""Clients that predict, label, correct and retract, each in its thread, and repeat what failed."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from PIL import Image

from bench.durability.ledger import WHO, Label, Ledger
from core.store.blobs import sha256
from tests.support import images
from tests.support.server import Server

_PAUSE_S = 0.02
_AFTER_FAILURE_S = 0.2
_CLASSES = ("red", "blue")
_PNG = {"Content-Type": "image/png"}


class Clients:
    def __init__(self, server: Server, ledger: Ledger, seed: int) -> None:
        self._server = server
        self._ledger = ledger
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._numbers = iter(range(seed * 1_000_000, 2**31))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        tasks = (self._predict, self._label, self._correct, self._retract)
        threads = [threading.Thread(target=self._repeat, args=(task,)) for task in tasks]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _repeat(self, task: Callable[[], None]) -> None:
        while not self._stop.wait(_PAUSE_S):
            task()

    def _image(self) -> tuple[bytes, str]:
        """A new image, and its class."""
        number = next(self._numbers)
        name = _CLASSES[number % 2]
        scene = images.scene(120, 96, number)
        tinted = Image.blend(scene, Image.new("RGB", scene.size, name), 0.6)
        return images.encode(tinted, "PNG"), name

    def _predict(self) -> None:
        image, _ = self._image()
        answer = self._send("predict", "POST", "/v1/predict", content=image, headers=_PNG)
        if answer is not None and answer.status_code == 200:
            self._ledger.note_prediction(answer.json()["prediction_id"], sha256(image))

    def _label(self) -> None:
        image, name = self._image()
        key = f"label-{sha256(image)[:24]}"
        form = {"label": (None, name), "who": (None, WHO), "image": ("a.png", image)}
        answer = self._until_acknowledged("label", "POST", "/v1/feedback", key, files=form)
        if answer is not None:
            self._ledger.note_label(key, Label(answer["id"], sha256(image), answer["label"]))
        time.sleep(_PAUSE_S)

    def _correct(self) -> None:
        recent = list(self._ledger.predictions.items())[-50:]
        if not recent:
            return
        prediction, digest = self._random.choice(recent)
        key = f"correct-{prediction}"
        if key in self._ledger.labels:
            return
        body = {"prediction_id": prediction, "label": self._random.choice(_CLASSES), "who": WHO}
        answer = self._until_acknowledged("correct", "POST", "/v1/feedback", key, json=body)
        if answer is not None:
            self._ledger.note_label(key, Label(answer["id"], digest, answer["label"]))

    def _retract(self) -> None:
        time.sleep(0.2)
        events = [label.event for label in list(self._ledger.labels.values())]
        if not events:
            return
        event = self._random.choice(events)
        answer = self._until_acknowledged("retract", "DELETE", f"/v1/feedback/{event}", "")
        if answer is not None:
            self._ledger.note_retraction(event, answer["id"])

    def _until_acknowledged(
        self, what: str, method: str, path: str, key: str, **request: Any
    ) -> dict[str, Any] | None:
        """Repeat until it is acknowledged, or refused for good, or the load ends."""
        headers = {"Idempotency-Key": key} if key else {}
        while True:
            answer = self._send(what, method, path, headers=headers, **request)
            if answer is not None and answer.status_code in (200, 201):
                content: dict[str, Any] = answer.json()
                return content
            if answer is not None and answer.status_code < 500:
                return None
            if self._stop.wait(_AFTER_FAILURE_S):
                return None

    def _send(self, what: str, method: str, path: str, **request: Any) -> httpx.Response | None:
        """None: there was no answer."""
        try:
            answer = self._server.http.request(method, path, **request)
        except httpx.HTTPError:
            self._ledger.note_answer(f"{what}: no answer")
            return None
        self._ledger.note_answer(f"{what}: {answer.status_code}")
        return answer
