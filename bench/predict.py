"""How fast predictions are, beside the limit of the machine and beside other servers.

    python -m bench.predict [--seconds 10] [--rounds 3] [--peers-python PYTHON] [--markdown]
        [--backbone torchvision/resnet50] [--beside CHECKOUT]

In one run, on the same photos and the same ONNX model: the in-process limit (decode + onnxruntime
on all cores, no HTTP), Evergreen, FastAPI + uvicorn, LitServe and a default BentoML service, each
with a worker for each core. Closed loop at 1 to 64 connections, then open loop at 50 and 80 % of
the server's own capacity and of Evergreen's. All are up, and each load is given to one after the
other, as machines have faster and slower minutes. Those whose turn it is not are stopped (SIGSTOP),
so that a server has the machine to itself but for the load generator, whose share is told.

The peers decode as tutorials do, and again with Evergreen's decoder ("same decoder"), so that the
servers themselves are compared. With `--beside`, so is Evergreen itself as another checkout has it
(`git worktree add`): what a change brings. Photos repeat, so Evergreen stores each once;
`--stamped` makes every one another file.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress

from bench import limit
from bench.contenders import EVERGREEN, Contender, Server, contenders, paused
from bench.images import Photo, deck, describe, mix
from bench.load import Generator, Plan
from bench.models import STARTER, Model, named
from bench.shots import Load, Summary, summarise, summary
from bench.tables import bar, failures, show, wait
from core.system.host import available_cores
from tests.support.processes import Memory, memory, pause, resume, tree

_SHARES = (0.5, 0.8)


class Measured:
    """All loads of all rounds, by what was asked and of whom."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self.loads: dict[tuple[str, str], list[Load]] = defaultdict(list)
        self.memory: dict[str, list[Memory]] = defaultdict(list)
        self.limits: list[tuple[float, float, float]] = []

    @property
    def limit(self) -> float:
        return statistics.median(rate for rate, _, _ in self.limits)

    def pooled(self, asked: str, name: str) -> Summary:
        loads = self.loads[asked, name]
        shots = [s for load in loads for s in load.shots if load.began <= s.due < load.ended]
        return summarise(shots, sum(load.seconds for load in loads))

    def saturated(self, name: str) -> float:
        closed = [asked for asked, who in self.loads if who == name and asked.startswith("closed")]
        return max((self.pooled(asked, name).throughput for asked in closed), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="of each point")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--backbone", default=STARTER, metavar="NAME", help="of the model")
    # Without a value: no peers.
    decoders = ["plain", "evergreen"]
    parser.add_argument("--decoders", nargs="*", choices=decoders, default=decoders)
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these, by how they begin")
    parser.add_argument(
        "--beside", type=Path, nargs="*", default=[], metavar="CHECKOUT", help="of Evergreen, too"
    )
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--largest-px", type=int, default=4000, help="leave out wider photos")
    parser.add_argument("--stamped", action="store_true", help="every photo is another file")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    photos = mix(options.largest_px)
    who, not_measured = contenders(
        options.decoders, options.peers_python, options.peers, options.beside
    )
    measured = Measured(options.workers)
    model = named(options.backbone)
    with Generator() as generator, bar() as progress, contextlib.ExitStack() as up:
        points = len(options.connections) + 2 * len(_SHARES)
        task = progress.add_task("servers", total=len(who) + options.rounds * points)
        servers = []
        for contender in who:
            try:
                servers.append(up.enter_context(paused(contender, model, photos, options)))
            except (RuntimeError, TimeoutError) as error:
                if contender.name == EVERGREEN:  # what the others are asked for is taken from it
                    raise
                not_measured.append(f"{contender.name}: not measured: {error}")
            progress.advance(task)
        for i in range(options.rounds):
            # Evergreen first: its capacity is what the peers are asked for, too.
            order = (
                servers[:1] + servers[1 + i % len(servers) :] + servers[1 : 1 + i % len(servers)]
            )
            left = [(server, plans(server, measured, options, seed=i)) for server in order]
            while left:
                measured.limits.append(_limit(model, photos, options))
                left = [
                    (server, loads)
                    for server, loads in left
                    if measure(server, loads, measured, generator, progress)
                ]
                progress.advance(task)
        for server in servers:
            measured.memory[server.contender.name].append(memory(tree(server.pid)))
    report(measured, who, options.markdown)
    print(f"\nPhotos: {describe(photos)}.")
    for reason in not_measured:
        print(reason)


def _limit(
    model: Model, photos: tuple[Photo, ...], options: argparse.Namespace
) -> tuple[float, float, float]:
    images = [photo.content for photo in photos]
    cores, order = options.workers, deck(photos)
    return limit.throughput(model.content, model.pixels, images, order, cores, options.seconds)


def measure(
    server: Server,
    loads: Iterator[tuple[str, Plan]],
    measured: Measured,
    generator: Generator,
    progress: Progress,
) -> bool:
    """The next load of this server; False if there is none left."""
    asked, plan = next(loads, ("", None))
    if plan is None:
        return False
    name = server.contender.name
    resume(server.pid)
    try:
        generator.run(server.plan)  # it stood still, and the caches are another's
        title = f"{name}: {asked}"
        load = wait(generator.start(plan), progress, title, plan.warm_up_s + plan.seconds)
    finally:
        pause(server.pid)
    measured.loads[asked, name].append(load)
    told = summary(load)
    progress.print(f"{title}: {told.throughput:.1f} / s, p99 {told.p99_ms:.1f} ms")
    return True


def plans(
    server: Server, measured: Measured, options: argparse.Namespace, seed: int
) -> Iterator[tuple[str, Plan]]:
    """One after the other: how much is asked depends on what was found."""
    contender = server.contender
    plan = replace(server.plan, seconds=options.seconds, seed=seed)
    for count in options.connections:
        yield f"closed, {count}", replace(plan, connections=count)
    asked = replace(plan, connections=64)
    for share in _SHARES:
        rate = share * measured.saturated(EVERGREEN)
        yield f"open, {share:.0%} of {EVERGREEN}'s", replace(asked, rate=rate)
    if contender.name != EVERGREEN:
        for share in _SHARES:
            rate = share * measured.saturated(contender.name)
            yield f"open, {share:.0%} of its own", replace(asked, rate=rate)


def report(measured: Measured, who: list[Contender], markdown: bool) -> None:
    p50, p99 = (statistics.median(found[i] for found in measured.limits) for i in (1, 2))
    rows = [
        ["in process", "the limit", f"{measured.limit:.1f}", "1.00", f"{p50:.1f}", f"{p99:.1f}"]
    ]
    rows[0] += [""] * 5
    for asked in dict.fromkeys(asked for asked, _ in measured.loads):
        for name in (c.name for c in who if (asked, c.name) in measured.loads):
            rows.append([asked, name, *_figures(measured, asked, name)])
    columns = ["load", "server", "answers / s", "of limit", "p50 ms", "p99 ms", "failed", "shed"]
    columns += ["fairness", "generator, cores", "... late, ms"]
    show("Predictions", columns, rows, markdown=markdown)
    kept = [
        [name, f"{max(m.rss_mib for m in found):.0f}", _pss(found)]
        for name, found in measured.memory.items()
    ]
    show("Memory of all processes, MiB", ["server", "RSS", "PSS"], kept, markdown=markdown)
    ratio = measured.saturated(EVERGREEN) / measured.limit
    print(f"\nEvergreen at saturation: {ratio:.2f} of the in-process limit (goal: at least 0.90).")
    behind = list(_behind(measured, who))
    if len(measured.memory) > 1:
        print(f"Behind a peer: {'; '.join(behind) or 'nowhere'}.")


def _figures(measured: Measured, asked: str, name: str) -> list[str]:
    found, loads = measured.pooled(asked, name), measured.loads[asked, name]
    fairness = min(summary(load).fairness(measured.num_workers) for load in loads)
    return [
        f"{found.throughput:.1f}",
        f"{found.throughput / measured.limit:.2f}",
        f"{found.p50_ms:.1f}",
        f"{found.p99_ms:.1f}",
        failures(found.failures),
        str(found.shed),
        f"{fairness:.2f}",
        f"{sum(x.generator_cpu_s for x in loads) / sum(x.seconds for x in loads):.2f}",
        f"{1000 * max(load.generator_late_s for load in loads):.1f}",
    ]


def _behind(measured: Measured, who: list[Contender]) -> Iterator[str]:
    """Where a peer under the same load answers more, or its slowest sooner."""
    for asked, name in measured.loads:
        if name == EVERGREEN or (asked, EVERGREEN) not in measured.loads:
            continue
        ours, theirs = measured.pooled(asked, EVERGREEN), measured.pooled(asked, name)
        # At a given rate all answer the same, but for chance.
        if theirs.throughput > ours.throughput * (1.0 if asked.startswith("closed") else 1.02):
            yield f"{asked}: {name}, {theirs.throughput:.1f} / s to {ours.throughput:.1f}"
        if theirs.p99_ms < ours.p99_ms:
            yield f"{asked}: {name}, p99 {theirs.p99_ms:.1f} ms to {ours.p99_ms:.1f}"


def _pss(found: list[Memory]) -> str:
    known = [m.pss_mib for m in found if m.pss_mib is not None]
    return f"{max(known):.0f}" if known else "unknown"


if __name__ == "__main__":
    main()
