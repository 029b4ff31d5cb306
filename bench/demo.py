"""make demo: a server, labels in steps, and after each step how good it is and how soon it was.

The digits that judge are never labelled. The time is from the last label's acknowledgement to the
first answer of the new version on every worker.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tests.support.digits import Digit, digits
from tests.support.server import Server, answers_of_every_worker, running
from tests.support.wait import wait_until

STEPS = (20, 50, 100, 200, 400, 800)
NUM_JUDGES = 300
_CLIENTS = 4
_LOOK_EVERY_S = 0.25

console = Console()


def main() -> None:
    everything = digits()
    judges, pool = everything[:NUM_JUDGES], everything[NUM_JUDGES:]
    table = Table(title="Handwritten digits, learnt while serving")
    for name in ("labels", "version", "classes", "accuracy", "label to live", "the gate"):
        table.add_column(name, justify="left" if name == "the gate" else "right")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "home") as server:
        console.print(f"Serving on {server.url} with {server.num_workers} workers.")
        table.add_row("0", "1", "200", _percent(accuracy(server, judges)), "", "the starter")
        given = 0
        for step in STEPS:
            newest = teach(server, pool[given:step], f"labels {given + 1} to {step}")
            given = step
            seconds, run = until_live(server, newest, judges[0].image)
            status = server.status()
            live = f"{seconds:.2f} s" if seconds is not None else "held back"
            table.add_row(
                str(step),
                str(status["version"]),
                str(status["classes"]),
                _percent(accuracy(server, judges)),
                live,
                str(run["reason"]).split(":")[0],
            )
    console.print(table)
    console.print(f"Accuracy: on {NUM_JUDGES} digits that were never labelled.")


def teach(server: Server, lesson: list[Digit], title: str, clients: int = _CLIENTS) -> int:
    """Label all of them; returns the id of the newest label. One client labels them in order."""

    def give(digit: Digit) -> int:
        response = client.post(
            f"{server.url}/v1/feedback",
            files={"image": ("digit.png", digit.image, "image/png")},
            data={"label": digit.label},
        )
        return int(response.raise_for_status().json()["id"])

    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn())
    newest = 0
    with (
        httpx.Client(timeout=30) as client,
        ThreadPoolExecutor(clients) as pool,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task(title, total=len(lesson))
        for label_id in pool.map(give, lesson):
            newest = max(newest, label_id)
            progress.advance(task)
    return newest


def until_live(server: Server, label_id: int, image: bytes) -> tuple[float | None, dict[str, Any]]:
    """Seconds until every worker answers with a version that saw this label (None: the gate held
    it back), and the run that saw it."""
    started = time.perf_counter()
    run: dict[str, Any] = {}
    looked_at = 0.0

    def has_run() -> bool:
        nonlocal looked_at
        # Among many labels the status takes its time, on the cores that training needs.
        if time.perf_counter() - looked_at < _LOOK_EVERY_S:
            return bool(run)
        looked_at = time.perf_counter()
        last = server.status()["last_run"]
        if last is not None and last["state"] == "finished" and last["snapshot"] >= label_id:
            run.update(last)
        return bool(run)

    # Asking the workers is itself the measurement, so it begins before the run has ended.
    def saw_it(answer: dict[str, Any]) -> bool:
        version: int = answer["version"]
        if version not in snapshots:
            found = server.http.get(f"/v1/versions/{version}", timeout=10).json()
            snapshots[version] = found["snapshot"]
        return snapshots[version] >= label_id

    snapshots: dict[int, int] = {}
    try:
        answers_of_every_worker(
            server, image, lambda a: saw_it(a) or (has_run() and run["outcome"] != "promoted"), 60
        )
    finally:
        seconds = time.perf_counter() - started
    wait_until(has_run, 30, "the run to end")
    return (seconds if run["outcome"] == "promoted" else None), run


def accuracy(server: Server, judges: list[Digit]) -> float:
    def is_right(digit: Digit) -> bool:
        response = client.post(
            f"{server.url}/v1/predict",
            content=digit.image,
            headers={"Content-Type": "image/png"},
        )
        return bool(response.raise_for_status().json()["label"] == digit.label)

    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(_CLIENTS) as pool:
        return sum(pool.map(is_right, judges)) / len(judges)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
