"""What a swap does to the people who are predicting.

    python -m bench.swap [--heads 1000] [--backbones 50] [--seconds-between 0.6] [--markdown]

A real server, an open-loop load at 80 % of its capacity, and one swap after another, as fast as the
protocol allows: each takes about half a second, of which 0.4 s are the lead that lets all workers
switch at one moment. Every version is a new one, published before. Heads change on one backbone;
backbones are the same graph with other weights, so each swap loads a model and drops one. A request
counts to a swap if it was due from when the swap was asked for until a moment after it. Told:
failures, p99 during over p99 between, memory of each worker, whether latency rises with the number
of swaps, and whether any client was answered by an old version after a new one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

from bench.cycles import Cycle, growth, old_after_new, p99_ratio, slope, split
from bench.images import deck, describe, mix
from bench.load import Generator, Plan
from bench.shots import OK, Load, Shot, summarise, summary
from bench.tables import bar, failures, show
from bench.variants import backbone_onnx, publish_backbones, publish_heads
from bench.wire import post
from core.models import starter
from core.models.backbones import Backbone, Runtime, golden_pixels
from core.registry import promotions
from core.registry.wait import PromotionWaiter
from core.settings import Settings
from core.store.store import Store, open_store
from core.system.host import available_cores
from tests.support.processes import rss_mib
from tests.support.server import running

_LOAD = 0.8
# Shared machines have faster and slower moments, and what is measured in a fast one is no capacity.
_CAPACITY_S = 30.0
# Requests that waited at the switch have been answered by then.
_SETTLED_S = 0.1
# As the route does. Asking takes from the cores that serve.
_LOOK_EVERY_S = 0.05
_SWAP_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    publish: Callable[[Store, int, Path], Iterator[int]]
    num_swaps: int
    # Not measured: allocators and caches fill.
    num_warm_up: int
    # What a worker may grow by.
    max_growth_mib: float


@dataclass(frozen=True, slots=True)
class Walk:
    load: Load
    capacity: float
    # By the pid of the worker: MiB a minute under this load before the first swap.
    control: dict[int, float]
    cycles: list[Cycle]
    # By the pid of the worker, after each swap.
    rss_mib: dict[int, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=int, default=1000)
    parser.add_argument("--backbones", type=int, default=50)
    parser.add_argument("--warm-up", type=int, default=20, help="swaps before (half: backbones)")
    parser.add_argument("--seconds-between", type=float, default=0.6)
    parser.add_argument("--control", type=float, default=120, help="seconds of load before swaps")
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--largest-px", type=int, default=4000, help="leave out wider photos")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    photos = mix(options.largest_px)
    warm_up, model_mib = options.warm_up, model_weighs_mib()
    phases = (
        Phase("heads", publish_heads, options.heads, warm_up, 16.0),
        Phase("backbones", publish_backbones, options.backbones, warm_up // 2, model_mib),
    )
    with Generator() as generator, bar() as progress:
        for phase in phases:
            if not phase.num_swaps:
                continue
            total = phase.num_swaps + phase.num_warm_up
            publishing = progress.add_task(f"{phase.name}: publishing", total=total)
            task = progress.add_task(f"{phase.name}: swaps", total=total)
            with (
                tempfile.TemporaryDirectory() as folder,
                running(Path(folder) / "home", workers=options.workers) as server,
            ):
                requests = tuple(post("/v1/predict", photo, stamped=False) for photo in photos)
                store = open_store(Settings(home=server.home))
                numbers: list[int] = []
                for number in phase.publish(store, total, server.home / "cache"):
                    numbers.append(number)
                    progress.advance(publishing)
                plan = Plan(server.port, requests, deck(photos), _CAPACITY_S, 32, warm_up_s=2)
                capacity = summary(generator.run(plan)).throughput
                pids = [int(worker["pid"]) for worker in server.status()["workers"]]
                hours = Plan(server.port, requests, deck(photos), 1e5, 64, _LOAD * capacity)
                future = generator.start(hours)
                control = control_growth(pids, options.control)
                cycles, rss = walk(store, numbers, pids, options, progress, task)
                generator.stop()
                found = Walk(future.result(), capacity, control, cycles, rss)
                report(phase, found, options.markdown)
                store.db.close()
    print(f"\nA loaded backbone holds {model_mib:.1f} MiB. Photos: {describe(photos)}.")


def control_growth(pids: list[int], seconds: float) -> dict[int, float]:
    """MiB a minute, of the second half of a time without swaps: what the load itself makes grow."""
    time.sleep(seconds / 2)
    before = {pid: rss_mib(pid) for pid in pids}
    time.sleep(seconds / 2)
    return {pid: (rss_mib(pid) - before[pid]) / (seconds / 120) for pid in pids}


def walk(
    store: Store,
    numbers: list[int],
    pids: list[int],
    options: argparse.Namespace,
    progress: Progress,
    task: TaskID,
) -> tuple[list[Cycle], dict[int, list[float]]]:
    cycles: list[Cycle] = []
    rss: dict[int, list[float]] = {pid: [] for pid in pids}
    for version in numbers:
        asked_at = time.monotonic()
        activate_at = swap_to(store, version)
        settled_at = max(activate_at, asked_at) + _SETTLED_S
        ended_at = settled_at + options.seconds_between
        time.sleep(max(0.0, ended_at - time.monotonic()))
        cycles.append(Cycle(version, asked_at, activate_at, settled_at, ended_at))
        for pid in pids:
            rss[pid].append(rss_mib(pid))
        progress.advance(task)
    return cycles, rss


def swap_to(store: Store, version: int) -> float:
    """Ask for it as `PUT /v1/champion` does, and wait until its moment is known; returns that."""
    with store.db.write() as conn:
        asked = promotions.request(conn, version, who="bench", why="swap", now=time.time())
    awaited = PromotionWaiter(store.db, asked.id)
    deadline = time.monotonic() + _SWAP_WITHIN_S
    while time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        ended = awaited.poll()
        if ended is None:
            continue
        if ended.activate_at is None:
            raise RuntimeError(f"version {version} did not become champion: {ended.error}")
        return ended.activate_at - time.time() + time.monotonic()
    raise TimeoutError(f"version {version} was not activated in {_SWAP_WITHIN_S:.0f} s")


def report(phase: Phase, found: Walk, markdown: bool) -> None:
    measured = found.cycles[phase.num_warm_up :]
    parts = split(found.load.shots, measured)
    during = [shot for part in parts for shot in part.during]
    between = [shot for part in parts for shot in part.between]
    rows = []
    for name, shots, seconds in (
        ("during swaps", during, sum(c.settled_at - c.asked_at for c in measured)),
        ("between swaps", between, sum(c.ended_at - c.settled_at for c in measured)),
    ):
        told = summarise(shots, seconds)
        figures = (told.throughput, told.p50_ms, told.p99_ms)
        rows.append([name, str(told.sent), *(f"{value:.1f}" for value in figures)])
        rows[-1] += [failures(told.failures), str(told.shed)]
    title = f"{phase.num_swaps} swaps of {phase.name}, open loop at {_LOAD:.0%} of "
    title += f"{found.capacity:.0f} answers a second"
    columns = ["requests", "sent", "answers / s", "p50 ms", "p99 ms", "failed", "shed"]
    show(title, columns, rows, markdown=markdown)
    took = statistics.median(c.activate_at - c.asked_at for c in measured)
    means = [_mean_ms([*part.during, *part.between]) for part in parts]
    moments = [(-1.0, 1), *((c.activate_at, c.version) for c in found.cycles)]
    facts = [
        ["p99 during over p99 between [95 %]", str(p99_ratio(parts)), "at most 1.10"],
        [
            "latency over swaps, ms per 1,000 (± s.e.)",
            "{:+.2f} ± {:.2f}".format(*slope(means)),
            "0",
        ],
        ["old version after a new one", str(old_after_new(found.load.shots, moments)), "0"],
        ["from the wish to the switch, median s", f"{took:.2f}", ""],
        ["generator late, p99 ms", f"{1000 * found.load.generator_late_s:.1f}", ""],
    ]
    for pid, series in found.rss_mib.items():
        rest = series[phase.num_warm_up :]
        per_swap, error = slope(rest)
        told_growth = f"{growth(rest):+.1f} of {rest[0]:.0f}"
        facts.append([f"growth of worker {pid}, MiB", told_growth, f"{phase.max_growth_mib:.1f}"])
        facts.append(["... MiB per 1,000 swaps (± s.e.)", f"{per_swap:+.1f} ± {error:.1f}", ""])
        facts.append(["... MiB a minute before swaps", f"{found.control[pid]:+.1f}", ""])
    show(f"Swaps of {phase.name}", ["figure", "measured", "goal"], facts, markdown=markdown)


def model_weighs_mib(copies: int = 5) -> float:
    """What one more loaded backbone adds to a process."""
    runtime = Runtime("cpu", 1)
    content = backbone_onnx(1)
    kept: list[Backbone] = []
    before = 0.0
    for i in range(copies + 1):
        kept.append(Backbone(content, "", runtime))
        # It takes what it needs to run only when it runs.
        kept[-1].embed(golden_pixels(starter.pixel_spec(), 0))
        if i == 0:
            before = rss_mib(os.getpid())
    return (rss_mib(os.getpid()) - before) / copies


def _mean_ms(shots: list[Shot]) -> float:
    latencies = [shot.latency_s for shot in shots if shot.kind == OK]
    return 1000 * statistics.fmean(latencies) if latencies else float("nan")


if __name__ == "__main__":
    main()
