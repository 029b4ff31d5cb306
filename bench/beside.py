"""What training beside it does to predictions.

    python -m bench.beside [--seconds 30] [--rounds 5] [--blocks-rounds 3] [--markdown]

One server with its trainer, taught some hundred labels, under an open-loop load of half its
capacity. Stretches without training and with it take turns: the head is retrained again and again;
then, where torch is there, the blocks of the backbone. A run of the head that is promoted swaps the
model too, and that counts; asking how far the runs are does not, as it is done in all stretches.
The goal is a p99 of at most 1.2 times that without training.
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
from bench.images import deck, describe, mix
from bench.load import Generator, Plan
from bench.shots import Load, summarise, summary
from bench.tables import bar, failures, show, wait
from bench.wire import post
from core.system.host import available_cores
from tests.support.digits import digits
from tests.support.server import Server, running, wait_until

_LOAD = 0.5
_UNFINISHED = ("waiting", "running")
_GOAL = 1.2
_LOOK_EVERY_S = 0.25


@dataclass(slots=True)
class Stretches:
    """Loads of one kind, and what was trained while they ran."""

    loads: list[Load] = field(default_factory=list)
    num_runs: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30, help="of each stretch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks-rounds", type=int, default=3, help="0: leave blocks out")
    parser.add_argument("--labels", type=int, default=400)
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--largest-px", type=int, default=4000, help="leave out wider photos")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    has_torch = importlib.util.find_spec("torch") is not None
    photos = mix(options.largest_px)
    requests = tuple(post("/v1/predict", photo, stamped=False) for photo in photos)
    tables: list[tuple[str, Stretches, Stretches]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Generator() as generator,
        running(Path(folder) / "home", workers=options.workers) as server,
    ):
        send_labels_with_bar(server, digits()[: options.labels], f"{options.labels} labels")
        until_idle(server)
        closed = Plan(server.port, requests, deck(photos), 8, 32, warm_up_s=2)
        capacity = summary(generator.run(closed)).throughput
        plan = replace(
            closed, seconds=options.seconds, connections=64, rate=_LOAD * capacity, warm_up_s=1
        )
        with bar() as progress:
            for tier, rounds in (("head", options.rounds), ("blocks", options.blocks_rounds)):
                if rounds and (tier == "head" or has_torch):
                    found = compare(server, generator, plan, tier, rounds, progress)
                    tables.append((tier, *found))
    for tier, quiet, busy in tables:
        report(tier, quiet, busy, options.markdown)
    if not has_torch:
        print("Blocks: not measured: torch is not installed.")
    print(f"\nOpen loop at {_LOAD:.0%} of {capacity:.1f} answers a second. {describe(photos)}.")


def compare(
    server: Server, generator: Generator, plan: Plan, tier: str, rounds: int, progress: Progress
) -> tuple[Stretches, Stretches]:
    """In turns, without training and with it; every other round the other way round."""
    quiet, busy = Stretches(), Stretches()
    took = plan.warm_up_s + plan.seconds
    for i in range(rounds):
        now = replace(plan, seed=i)
        for is_busy in (False, True) if i % 2 == 0 else (True, False):
            title = f"{'beside ' + tier if is_busy else 'without training'}, round {i + 1}"
            found = busy if is_busy else quiet
            with Training(server, tier if is_busy else None) as training:
                training.until_running()
                found.loads.append(wait(generator.start(now), progress, title, took))
            found.num_runs += training.num_runs
            until_idle(server)
    return quiet, busy


class Training:
    """Keeps a run of a tier going, and cancels the last one. Without a tier it only asks."""

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
            while not self._stop.wait(_LOOK_EVERY_S):
                if unfinished(self._server) or self._tier is None:
                    continue
                asked = self._server.http.post("/v1/retrain", json=self._body).raise_for_status()
                last = asked.json()["id"]
                self.num_runs += 1
            for run in unfinished(self._server):
                self._server.http.delete(f"/v1/runs/{run['id']}")
            if last is not None:
                found = self._server.http.get(f"/v1/runs/{last}").json()
                if found["state"] == "failed":
                    self._problem = f"the run failed: {found['error']}"
        except httpx.HTTPError as error:
            self._problem = f"training cannot be asked for: {error}"


def unfinished(server: Server) -> list[dict[str, Any]]:
    found = server.http.get("/v1/runs", params={"limit": 5}).json()["runs"]
    return [run for run in found if run["state"] in _UNFINISHED]


def until_idle(server: Server) -> None:
    # Labels that came a moment ago start a run only after half a second.
    time.sleep(1.5)
    wait_until(lambda: not unfinished(server), 180, "the trainer to be idle", pause_s=0.2)


def report(tier: str, quiet: Stretches, busy: Stretches, markdown: bool) -> None:
    rows = []
    for name, found in (("without training", quiet), (f"beside training of {tier}", busy)):
        shots = [s for x in found.loads for s in x.shots if x.began <= s.due < x.ended]
        told = summarise(shots, sum(load.seconds for load in found.loads))
        each = sorted(summary(load).p99_ms for load in found.loads)
        rows.append([name, str(told.sent), f"{told.throughput:.1f}", f"{told.p50_ms:.1f}"])
        rows[-1] += [f"{told.p99_ms:.1f}", f"{each[0]:.1f} to {each[-1]:.1f}"]
        rows[-1] += [failures(told.failures), str(told.shed), str(found.num_runs)]
    columns = ["predictions", "sent", "answers / s", "p50 ms", "p99 ms", "p99 of each stretch"]
    show(f"Training of {tier}", [*columns, "failed", "shed", "runs"], rows, markdown=markdown)
    ratio = float(rows[1][4]) / float(rows[0][4])
    print(f"\np99 beside training of {tier} over p99 without: {ratio:.2f} (goal: {_GOAL}).")


if __name__ == "__main__":
    main()
