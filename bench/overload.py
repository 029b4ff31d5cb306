"""Goodput of a server under three times its capacity.

    python -m bench.overload [--seconds 20] [--rounds 3] [--within 1.0] [--markdown]

Capacity is the throughput of a closed loop with 32 clients. Then open loops at that rate and at
three times that rate alternate. Goodput counts answers with status 200 within the deadline, which
starts when the request is due. A rejection with 503 counts as shed, not as failed. Failures are any
other status (as 504), a broken connection, and no answer in ten seconds.

Requests carry the deadline in `X-Request-Timeout-Ms`. With `--untold` they do not, and the server
applies only its own limit, `EVERGREEN_MAX_WAIT_S`.

The load generator runs on the last core, and the server on the others with one worker per core.
Otherwise the CPU time of three times as many requests would count against the server. With
`--together` they share all cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.http_client import post
from bench.load_generator import Generator, Plan
from bench.load_results import SHED, LoadResult, goodput, percentile, summarise, summarise_load
from bench.photo_mix import describe, make_photos, request_order
from bench.tables import bar, failures, show, wait
from core.system.host import available_cores
from tests.support.server import running

_REST_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 3.0], help="of capacity")
    parser.add_argument("--within", type=float, default=1.0, help="the deadline, in seconds")
    parser.add_argument("--untold", action="store_true", help="send no deadline to the server")
    parser.add_argument("--together", action="store_true", help="share all cores")
    parser.add_argument("--workers", type=int, help="default: one for each core of the server")
    parser.add_argument("--largest-px", type=int, default=4000, help="leave out wider photos")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    photos = make_photos(options.largest_px)
    generator_cores, server_cores = split_cores(options.together)
    timeout_ms = None if options.untold else round(1000 * options.within)
    requests = tuple(
        post("/v1/predict", photo, timeout_ms=timeout_ms, stamped=False) for photo in photos
    )
    loads: dict[float, list[LoadResult]] = {times: [] for times in options.times}
    capacities = []
    pin(server_cores)  # inherited by the server
    with (
        tempfile.TemporaryDirectory() as folder,
        Generator() as generator,
        bar() as progress,
        running(Path(folder) / "home", workers=options.workers or len(server_cores)) as server,
    ):
        pin(generator_cores)  # inherited by the generator, which starts with its first load
        closed = Plan(
            server.port, requests, request_order(photos), options.seconds, 32, warm_up_s=2
        )
        for i in range(options.rounds):
            took = closed.warm_up_s + closed.seconds
            load = wait(generator.start(closed), progress, f"capacity, round {i + 1}", took)
            capacities.append(summarise_load(load).throughput)
            for times in options.times:
                rate = times * statistics.median(capacities)
                plan = replace(closed, connections=64, rate=rate, seed=i)
                title = f"{times:g} times capacity, round {i + 1}"
                loads[times].append(wait(generator.start(plan), progress, title, took))
                # Drains the server's queue before the next load.
                generator.run(replace(closed, seconds=_REST_S, connections=1))
    rows = [_row(times, own, options.within) for times, own in loads.items()]
    columns = ["load", "sent / s", f"goodput / s, within {options.within:g} s", "shed / s"]
    columns += ["p50 ms", "p99 ms", "p99 of rejections, ms", "failed", "generator, cores"]
    title = f"Overload: capacity {statistics.median(capacities):.1f} answers a second"
    show(title, columns, rows, markdown=options.markdown)
    least, most = min(options.times), max(options.times)
    ratio = _goodput(loads[most], options.within) / _goodput(loads[least], options.within)
    print(f"\nGoodput at {most:g} times capacity over that at {least:g}: {ratio:.2f} (goal: 0.90).")
    print(f"Server on cores {listed(server_cores)}, generator on {listed(generator_cores)}.")
    print(f"Photos: {describe(photos)}.")


def split_cores(together: bool) -> tuple[set[int], set[int]]:
    """Return the cores of the generator and those of the server."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set(range(available_cores()))
    every = os.sched_getaffinity(0)
    last = {max(every)}
    return (every, every) if together or len(every) == 1 else (last, every - last)


def pin(to: set[int]) -> None:
    """Restrict this process and what it starts to these cores."""
    if to and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, to)


def listed(some: set[int]) -> str:
    return ", ".join(map(str, sorted(some))) or "any"


def _row(times: float, loads: list[LoadResult], within_s: float) -> list[str]:
    results = [result for load in loads for result in load.measured()]
    seconds = sum(load.seconds for load in loads)
    summary = summarise(results, seconds)
    rejected_s = sorted(result.latency_s for result in results if result.kind == SHED)
    return [
        f"{times:g} times capacity",
        f"{summary.sent / seconds:.1f}",
        f"{_goodput(loads, within_s):.1f}",
        f"{summary.shed / seconds:.1f}",
        f"{summary.p50_ms:.1f}",
        f"{summary.p99_ms:.1f}",
        f"{1000 * percentile(rejected_s, 0.99):.1f}" if rejected_s else "",
        failures(summary.failures),
        f"{sum(load.generator_cpu_s for load in loads) / seconds:.2f}",
    ]


def _goodput(loads: list[LoadResult], within_s: float) -> float:
    return statistics.fmean(goodput(load, within_s) for load in loads)


if __name__ == "__main__":
    main()
