"""Latency and failures of predictions during swaps.

    python -m bench.swap [--heads 1000] [--backbones 50] [--seconds-between 0.6] [--markdown]

A server gets an open-loop load at 80 % of its capacity, and one swap after another. Each swap takes
about half a second, of which 0.4 s is the lead time that lets all workers switch together. All
versions are new, and published before. Swaps of heads keep the backbone. Swaps of backbones use the
same graph with other weights, so each one loads a model and unloads one. A request belongs to a
swap if it was due between the swap's request and shortly after the switch. The tables show
failures, p99 during swaps over p99 between them, the memory of each worker, the trend of latency
over swaps, and answers by an old version after a new one.
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

from bench.http_client import post
from bench.load_generator import Generator, Plan
from bench.load_results import OK, LoadResult, RequestResult, summarise, summarise_load
from bench.photo_mix import describe, make_photos, request_order
from bench.swap_statistics import Cycle, growth, old_after_new, p99_ratio, slope, split
from bench.swap_versions import backbone_onnx, publish_backbones, publish_heads
from bench.tables import bar, failures, show
from core.models.backbones import Backbone, Runtime
from core.models.pretrained import lite0
from core.registry import promotions
from core.registry.wait import PromotionWaiter
from core.settings import Settings
from core.store.store import Store, open_store
from core.system.host import available_cores
from tests.support.processes import rss_mib
from tests.support.server import running

_LOAD = 0.8
# Long enough to average the faster and slower moments of a shared machine.
_CAPACITY_S = 30.0
# By then, requests that waited for the switch have been answered.
_SETTLED_S = 0.1
# As the HTTP route does. Polling takes CPU time from the server.
_POLL_EVERY_S = 0.05
_SWAP_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    publish: Callable[[Store, int, Path], Iterator[int]]
    num_swaps: int
    # Swaps that are not measured, while allocators and caches fill.
    num_warm_up: int
    # How much the memory of a worker may grow.
    max_growth_mib: float


@dataclass(frozen=True, slots=True)
class SwapLoad:
    load: LoadResult
    capacity: float
    # By pid of the worker: growth in MiB per minute under this load before the first swap.
    control: dict[int, float]
    cycles: list[Cycle]
    # By pid of the worker, after each swap.
    rss_mib: dict[int, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=int, default=1000)
    parser.add_argument("--backbones", type=int, default=50)
    parser.add_argument(
        "--warm-up",
        type=int,
        default=20,
        help="unmeasured swaps of heads; half as many of backbones",
    )
    parser.add_argument("--seconds-between", type=float, default=0.6)
    parser.add_argument(
        "--control", type=float, default=120, help="seconds of load before the swaps"
    )
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--largest-px", type=int, default=4000, help="leave out wider photos")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    photos = make_photos(options.largest_px)
    warm_up, model_mib = options.warm_up, model_size_mib()
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
                order = request_order(photos)
                plan = Plan(server.port, requests, order, _CAPACITY_S, 32, warm_up_s=2)
                capacity = summarise_load(generator.run(plan)).throughput
                pids = [int(worker["pid"]) for worker in server.status()["workers"]]
                endless = Plan(server.port, requests, order, 1e5, 64, _LOAD * capacity)
                future = generator.start(endless)
                control = control_growth(pids, options.control)
                cycles, rss = swap_repeatedly(store, numbers, pids, options, progress, task)
                generator.stop()
                measured = SwapLoad(future.result(), capacity, control, cycles, rss)
                report(phase, measured, options.markdown)
                store.db.close()
    print(f"\nA loaded backbone holds {model_mib:.1f} MiB. Photos: {describe(photos)}.")


def control_growth(pids: list[int], seconds: float) -> dict[int, float]:
    """Measure the growth without swaps, in MiB per minute, in the second half of `seconds`."""
    time.sleep(seconds / 2)
    before = {pid: rss_mib(pid) for pid in pids}
    time.sleep(seconds / 2)
    return {pid: (rss_mib(pid) - before[pid]) / (seconds / 120) for pid in pids}


def swap_repeatedly(
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
        requested_at = time.monotonic()
        activate_at = swap_to(store, version)
        settled_at = max(activate_at, requested_at) + _SETTLED_S
        ended_at = settled_at + options.seconds_between
        time.sleep(max(0.0, ended_at - time.monotonic()))
        cycles.append(Cycle(version, requested_at, activate_at, settled_at, ended_at))
        for pid in pids:
            rss[pid].append(rss_mib(pid))
        progress.advance(task)
    return cycles, rss


def swap_to(store: Store, version: int) -> float:
    """Request a promotion as `PUT /v1/champion` does. Returns the time of its activation."""
    with store.db.write() as conn:
        promotion = promotions.request(conn, version, who="bench", why="swap", now=time.time())
    waiter = PromotionWaiter(store.db, promotion.id)
    deadline = time.monotonic() + _SWAP_WITHIN_S
    while time.monotonic() < deadline:
        time.sleep(_POLL_EVERY_S)
        result = waiter.poll()
        if result is None:
            continue
        if result.activate_at is None:
            raise RuntimeError(f"version {version} did not become champion: {result.error}")
        return result.activate_at - store.db.clock() + time.monotonic()
    raise TimeoutError(f"version {version} was not activated in {_SWAP_WITHIN_S:.0f} s")


def report(phase: Phase, measured: SwapLoad, markdown: bool) -> None:
    cycles = measured.cycles[phase.num_warm_up :]
    parts = split(measured.load.results, cycles)
    during = [result for part in parts for result in part.during]
    between = [result for part in parts for result in part.between]
    rows = []
    for name, results, seconds in (
        ("during swaps", during, sum(c.settled_at - c.requested_at for c in cycles)),
        ("between swaps", between, sum(c.ended_at - c.settled_at for c in cycles)),
    ):
        summary = summarise(results, seconds)
        figures = (summary.throughput, summary.p50_ms, summary.p99_ms)
        rows.append([name, str(summary.sent), *(f"{value:.1f}" for value in figures)])
        rows[-1] += [failures(summary.failures), str(summary.shed)]
    title = f"{phase.num_swaps} swaps of {phase.name}, open loop at {_LOAD:.0%} of "
    title += f"{measured.capacity:.0f} answers a second"
    columns = ["requests", "sent", "answers / s", "p50 ms", "p99 ms", "failed", "shed"]
    show(title, columns, rows, markdown=markdown)
    took = statistics.median(c.activate_at - c.requested_at for c in cycles)
    means = [_mean_ms([*part.during, *part.between]) for part in parts]
    activations = [(-1.0, 1), *((c.activate_at, c.version) for c in measured.cycles)]
    facts = [
        ["p99 during over p99 between [95 %]", str(p99_ratio(parts)), "at most 1.10"],
        [
            "latency over swaps, ms per 1,000 (± s.e.)",
            "{:+.2f} ± {:.2f}".format(*slope(means)),
            "0",
        ],
        [
            "old version after a new one",
            str(old_after_new(measured.load.results, activations)),
            "0",
        ],
        ["from request to switch, median s", f"{took:.2f}", ""],
        ["generator late, p99 ms", f"{1000 * measured.load.generator_late_s:.1f}", ""],
    ]
    for pid, series in measured.rss_mib.items():
        rest = series[phase.num_warm_up :]
        per_swap, error = slope(rest)
        told_growth = f"{growth(rest):+.1f} of {rest[0]:.0f}"
        facts.append([f"growth of worker {pid}, MiB", told_growth, f"{phase.max_growth_mib:.1f}"])
        facts.append(["... MiB per 1,000 swaps (± s.e.)", f"{per_swap:+.1f} ± {error:.1f}", ""])
        facts.append(["... MiB a minute before swaps", f"{measured.control[pid]:+.1f}", ""])
    show(f"Swaps of {phase.name}", ["figure", "measured", "goal"], facts, markdown=markdown)


def model_size_mib(copies: int = 5) -> float:
    """Measure the memory that one more loaded backbone adds to a process."""
    runtime = Runtime("cpu", 1)
    content = backbone_onnx(1)
    loaded: list[Backbone] = []
    before = 0.0
    for i in range(copies + 1):
        loaded.append(Backbone(content, "", runtime))
        # onnxruntime allocates the memory of a run at the first run.
        loaded[-1].embed(lite0.pixel_spec().golden(0))
        if i == 0:
            before = rss_mib(os.getpid())
    return (rss_mib(os.getpid()) - before) / copies


def _mean_ms(results: list[RequestResult]) -> float:
    latencies = [result.latency_s for result in results if result.kind == OK]
    return 1000 * statistics.fmean(latencies) if latencies else float("nan")


if __name__ == "__main__":
    main()
