"""Teach a running server with labels, and measure how good it is and how soon it was.

Used by the end-to-end test of the loop and by the benchmarks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import httpx

from tests.support.server import Server, answers_of_every_worker, wait_until

_CLIENTS = 4
_POLL_EVERY_S = 0.25


class Example(Protocol):
    """A digit, or a labelled text."""

    @property
    def label(self) -> str: ...

    @property
    def body(self) -> bytes:
        """The body of a request to predict."""

    @property
    def content_type(self) -> str:
        """Of that body."""

    def feedback(self) -> dict[str, Any]:
        """The arguments of httpx for a label."""


def send_labels(
    server: Server,
    examples: Sequence[Example],
    *,
    clients: int = _CLIENTS,
    on_sent: Callable[[], None] = lambda: None,
) -> int:
    """Label all examples. A single client keeps their order. Returns the id of the newest label."""

    def send(example: Example) -> int:
        response = client.post(f"{server.url}/v1/feedback", **example.feedback())
        return int(response.raise_for_status().json()["id"])

    newest = 0
    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(clients) as pool:
        for label_id in pool.map(send, examples):
            newest = max(newest, label_id)
            on_sent()
    return newest


def wait_until_live(
    server: Server, label_id: int, example: Example
) -> tuple[float | None, dict[str, Any]]:
    """Wait until every worker answers with a version trained on this label.

    Returns the seconds until then, or None if the gate held the version back, and the run that
    used the label.
    """
    started = time.perf_counter()
    run: dict[str, Any] = {}
    polled_at = 0.0

    def has_run() -> bool:
        nonlocal polled_at
        # With many labels the status is slow, and takes CPU time that training needs.
        if time.perf_counter() - polled_at < _POLL_EVERY_S:
            return bool(run)
        polled_at = time.perf_counter()
        last = server.status()["last_run"]
        if last is not None and last["state"] == "finished" and last["snapshot"] >= label_id:
            run.update(last)
        return bool(run)

    def is_trained_on_it(answer: dict[str, Any]) -> bool:
        version: int = answer["version"]
        if version not in snapshots:
            manifest = server.http.get(f"/v1/versions/{version}", timeout=10).json()
            snapshots[version] = manifest["snapshot"]
        return snapshots[version] >= label_id

    # The answers of the workers are the measurement, so they are read before the run has ended.
    snapshots: dict[int, int] = {}
    try:
        answers_of_every_worker(
            server,
            example.body,
            lambda a: is_trained_on_it(a) or (has_run() and run["outcome"] != "promoted"),
            60,
            example.content_type,
        )
    finally:
        seconds = time.perf_counter() - started
    wait_until(has_run, 30, "the run to end")
    return (seconds if run["outcome"] == "promoted" else None), run


def measure_accuracy(server: Server, examples: Sequence[Example]) -> float:
    """Return the share of examples that the server classifies correctly."""

    def is_correct(example: Example) -> bool:
        response = client.post(
            f"{server.url}/v1/predict",
            content=example.body,
            headers={"Content-Type": example.content_type},
        )
        return bool(response.raise_for_status().json()["label"] == example.label)

    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(_CLIENTS) as pool:
        return sum(pool.map(is_correct, examples)) / len(examples)
