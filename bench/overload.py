"""What is left of a server that is asked for three times what it can do.

    python -m bench.overload [--seconds 20] [--rounds 3] [--within 1.0] [--markdown]

Capacity is what a closed loop of 32 clients gets. Then requests arrive at random at once and at
three times that rate, in turns. Goodput counts answers with 200 that came within the deadline,
counted from when the request was due. A request refused with 503 was told at once, and when to
come again: it counts as shed, not as failed. What is neither is a failure: another status, a broken
connection, no answer in ten seconds, or a 504 for what could not begin in time.

The server is told the deadline (`X-Request-Timeout-Ms`); with `--untold` it goes by its own bound,
`EVERGREEN_MAX_WAIT_S`.

The load generator has the last core to itself and the server the others, with a worker for each: a
generator that asks three times as much takes more of the processor, and on cores that both share
that would count against the server. `--together` lets them share all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.images import deck, describe, mix
from bench.load import Generator, Plan
from bench.shots import SHED, Load, goodput, percentile, summarise, summary
from bench.tables import bar, failures, show, wait
from bench.wire import post
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
    parser.add_argument("--untold", action="store_true", help="do not tell the server the deadline")
    parser.add_argument("--together", action="store_true", help="on the same cores")
    parser.add_argument("--workers", type=int, help="default: one for each core of the server")
    parser.add_argument("--largest-px", type=int, default=4000, help="leave out wider photos")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    photos = mix(options.largest_px)
    ours, theirs = cores(options.together)
    told_ms = None if options.untold else round(1000 * options.within)
    requests = tuple(
        post("/v1/predict", photo, timeout_ms=told_ms, stamped=False) for photo in photos
    )
    loads: dict[float, list[Load]] = {times: [] for times in options.times}
    capacities = []
    pin(theirs)  # what is started from here on
    with (
        tempfile.TemporaryDirectory() as folder,
        Generator() as generator,
        bar() as progress,
        running(Path(folder) / "home", workers=options.workers or len(theirs)) as server,
    ):
        pin(ours)  # the generator, which begins with its first load
        closed = Plan(server.port, requests, deck(photos), options.seconds, 32, warm_up_s=2)
        for i in range(options.rounds):
            took = closed.warm_up_s + closed.seconds
            load = wait(generator.start(closed), progress, f"capacity, round {i + 1}", took)
            capacities.append(summary(load).throughput)
            for times in options.times:
                rate = times * statistics.median(capacities)
                plan = replace(closed, connections=64, rate=rate, seed=i)
                title = f"{times:g} times capacity, round {i + 1}"
                loads[times].append(wait(generator.start(plan), progress, title, took))
                # What still waits in the server is no business of the next load.
                generator.run(replace(closed, seconds=_REST_S, connections=1))
    rows = [_row(times, found, options.within) for times, found in loads.items()]
    columns = ["load", "asked / s", f"goodput / s, within {options.within:g} s", "shed / s"]
    columns += ["p50 ms", "p99 ms", "p99 of refusals, ms", "failed", "generator, cores"]
    title = f"Overload: capacity {statistics.median(capacities):.1f} answers a second"
    show(title, columns, rows, markdown=options.markdown)
    least, most = min(options.times), max(options.times)
    ratio = _goodput(loads[most], options.within) / _goodput(loads[least], options.within)
    print(f"\nGoodput at {most:g} times capacity over that at {least:g}: {ratio:.2f} (goal: 0.90).")
    print(f"Server on cores {listed(theirs)}, generator on {listed(ours)}.")
    print(f"Photos: {describe(photos)}.")


def cores(together: bool) -> tuple[set[int], set[int]]:
    """The generator's and the server's."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set(range(available_cores()))
    every = os.sched_getaffinity(0)
    last = {max(every)}
    return (every, every) if together or len(every) == 1 else (last, every - last)


def pin(to: set[int]) -> None:
    if to and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, to)


def listed(some: set[int]) -> str:
    return ", ".join(map(str, sorted(some))) or "any"


def _row(times: float, loads: list[Load], within_s: float) -> list[str]:
    shots = [s for load in loads for s in load.shots if load.began <= s.due < load.ended]
    seconds = sum(load.seconds for load in loads)
    told = summarise(shots, seconds)
    refused = sorted(shot.latency_s for shot in shots if shot.kind == SHED)
    return [
        f"{times:g} times capacity",
        f"{told.sent / seconds:.1f}",
        f"{_goodput(loads, within_s):.1f}",
        f"{told.shed / seconds:.1f}",
        f"{told.p50_ms:.1f}",
        f"{told.p99_ms:.1f}",
        f"{1000 * percentile(refused, 0.99):.1f}" if refused else "",
        failures(told.failures),
        f"{sum(load.generator_cpu_s for load in loads) / seconds:.2f}",
    ]


def _goodput(loads: list[Load], within_s: float) -> float:
    return statistics.fmean(goodput(load, within_s) for load in loads)


if __name__ == "__main__":
    main()
