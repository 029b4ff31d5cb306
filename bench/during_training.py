"""Latency of predictions during training, compared with that without.

    python -m bench.during_training [--seconds 30] [--rounds 5] [--blocks-rounds 3] [--markdown]

A server with its trainer gets some hundred labels, and then an open-loop load at half its capacity.
Loads without and with training alternate. First the head is retrained without pause, then, if torch
is installed, the blocks of the backbone. Swaps after promoted runs count as part of training. The
runs are polled in all loads, so polling cancels out. The goal is a p99 of at most 1.2 times that
without training.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from rich.progress import Progress

from bench.demo import send_labels_with_bar
from bench.http_client import post
from bench.load_generator import Generator, Plan
from bench.load_results import LoadResult, summarise_load, summarise_loads
from bench.photo_mix import describe, make_photos, request_order
from bench.tables import bar, failures, show, wait
from core.system.host import available_cores
from tests.support.digits import digits
from tests.support.server import Server, running
from tests.support.wait import wait_until

_LOAD = 0.5
_UNFINISHED = ("waiting", "running")
_GOAL = 1.2
_POLL_EVERY_S = 0.25


@dataclass(slots=True)
class LoadGroup:
    """Loads with or without training, and the number of runs requested during them."""

    loads: list[LoadResult] = field(default_factory=list)
    num_runs: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30, help="of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks-rounds", type=int, default=3, help="0 leaves blocks out")
    parser.add_argument("--labels", type=int, default=400)
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--largest-px", type=int, default=4000, help="leave out wider photos")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    has_torch = importlib.util.find_spec("torch") is not None
    photos = make_photos(options.largest_px)
    requests = tuple(post("/v1/predict", photo, stamped=False) for photo in photos)
    tables: list[tuple[str, LoadGroup, LoadGroup]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Generator() as generator,
        running(Path(folder) / "home", workers=options.workers) as server,
    ):
        send_labels_with_bar(server, digits()[: options.labels], f"{options.labels} labels")
        until_idle(server)
        closed = Plan(server.port, requests, request_order(photos), 8, 32, warm_up_s=2)
        capacity = summarise_load(generator.run(closed)).throughput
        plan = replace(
            closed, seconds=options.seconds, connections=64, rate=_LOAD * capacity, warm_up_s=1
        )
        with bar() as progress:
            for tier, rounds in (("head", options.rounds), ("blocks", options.blocks_rounds)):
                if rounds and (tier == "head" or has_torch):
                    groups = compare(server, generator, plan, tier, rounds, progress)
                    tables.append((tier, *groups))
    for tier, without, during in tables:
        report(tier, without, during, options.markdown)
    if not has_torch:
        print("Blocks: not measured: torch is not installed.")
    print(f"\nOpen loop at {_LOAD:.0%} of {capacity:.1f} answers a second. {describe(photos)}.")


def compare(
    server: Server, generator: Generator, plan: Plan, tier: str, rounds: int, progress: Progress
) -> tuple[LoadGroup, LoadGroup]:
    """Alternate loads without and with training, and their order from round to round."""
    without, during = LoadGroup(), LoadGroup()
    took = plan.warm_up_s + plan.seconds
    for i in range(rounds):
        now = replace(plan, seed=i)
        for trains in (False, True) if i % 2 == 0 else (True, False):
            title = f"{'training of ' + tier if trains else 'without training'}, round {i + 1}"
            group = during if trains else without
            with Training(server, tier if trains else None) as training:
                training.until_running()
                group.loads.append(wait(generator.start(now), progress, title, took))
            group.num_runs += training.num_runs
            until_idle(server)
    return without, during


class Training:
    """Keeps a run of a tier going, and cancels the last one. Without a tier it only polls."""

    def __init__(self, server: Server, tier: str | None) -> None:
        self._server = server
        self._tier = tier
        self._body: dict[str, Any] = {"tier": tier}
        if tier == "blocks":
            self._body["minutes"] = 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="training")
        self._problem: str | None = None
        self.num_runs = 0

    def __enter__(self) -> Training:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._problem is not None:
            raise RuntimeError(self._problem)

    def until_running(self) -> None:
        wait_until(self._is_running, 60, "the run to start")

    def _is_running(self) -> bool:
        is_over = self._problem is not None or self._tier is None
        return is_over or any(run["state"] == "running" for run in unfinished(self._server))

    def _run(self) -> None:
        last: str | None = None
        try:
            while not self._stop.wait(_POLL_EVERY_S):
                if unfinished(self._server) or self._tier is None:
                    continue
                response = self._server.http.post("/v1/retrain", json=self._body).raise_for_status()
                last = response.json()["id"]
                self.num_runs += 1
            for run in unfinished(self._server):
                self._server.http.delete(f"/v1/runs/{run['id']}")
            if last is not None:
                run = self._server.http.get(f"/v1/runs/{last}").json()
                if run["state"] == "failed":
                    self._problem = f"the run failed: {run['error']}"
        except httpx.HTTPError as error:
            self._problem = f"training cannot be requested: {error}"


def unfinished(server: Server) -> list[dict[str, Any]]:
    runs = server.http.get("/v1/runs", params={"limit": 5}).json()["runs"]
    return [run for run in runs if run["state"] in _UNFINISHED]


def until_idle(server: Server) -> None:
    # Labels during a run start the next one when it ends.
    time.sleep(1.5)
    wait_until(lambda: not unfinished(server), 180, "the trainer to be idle", pause_s=0.2)


def report(tier: str, without: LoadGroup, during: LoadGroup, markdown: bool) -> None:
    rows = []
    for name, group in (("without training", without), (f"during training of {tier}", during)):
        summary = summarise_loads(group.loads)
        each = sorted(summarise_load(load).p99_ms for load in group.loads)
        rows.append([name, str(summary.sent), f"{summary.throughput:.1f}", f"{summary.p50_ms:.1f}"])
        rows[-1] += [f"{summary.p99_ms:.1f}", f"{each[0]:.1f} to {each[-1]:.1f}"]
        rows[-1] += [failures(summary.failures), str(summary.shed), str(group.num_runs)]
    columns = ["predictions", "sent", "answers / s", "p50 ms", "p99 ms", "p99 of each load"]
    show(f"Training of {tier}", [*columns, "failed", "shed", "runs"], rows, markdown=markdown)
    ratio = float(rows[1][4]) / float(rows[0][4])
    print(f"\np99 during training of {tier} over p99 without: {ratio:.2f} (goal: {_GOAL}).")


if __name__ == "__main__":
    main()
