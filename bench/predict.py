"""Throughput and latency of predictions, compared with the machine's limit and with other servers.

    python -m bench.predict [--seconds 10] [--rounds 3] [--peers-python PYTHON] [--markdown]
        [--backbone torchvision/resnet50] [--beside CHECKOUT]

All get the same photos and the same ONNX model: the in-process limit (decoder and onnxruntime on
all cores, no HTTP), Evergreen, FastAPI + uvicorn, LitServe and a default BentoML service, each with
one worker per core. Loads are closed loops of 1 to 64 connections, then open loops at 50 and 80 %
of the server's own capacity and of Evergreen's. Each load goes to one server after the other,
because shared machines have faster and slower minutes. The other servers are stopped (SIGSTOP)
meanwhile. The tables show the CPU use of the load generator.

The peers decode as tutorials do, and again with Evergreen's decoder ("same decoder"), which
compares the servers alone. `--beside` adds another checkout of Evergreen (`git worktree add`) to
show the effect of a change. Photos repeat, so Evergreen stores each once. `--stamped` makes every
photo a different file.
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

from bench import in_process_limit
from bench.compared_servers import EVERGREEN, ComparedServer, StartedServer, paused, select_servers
from bench.load_generator import Generator, Plan
from bench.load_results import LoadResult, Summary, summarise_load, summarise_loads
from bench.models import DEFAULT, Model, named
from bench.photo_mix import Photo, describe, make_photos, request_order
from bench.tables import bar, failures, show, wait
from core.system.host import available_cores
from tests.support.processes import Memory, memory, pause, resume, tree

_SHARES = (0.5, 0.8)


class Measurements:
    """The results of all rounds, by the name of the load and that of the server."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self.loads: dict[tuple[str, str], list[LoadResult]] = defaultdict(list)
        self.memory: dict[str, list[Memory]] = defaultdict(list)
        self.limits: list[tuple[float, float, float]] = []

    @property
    def limit(self) -> float:
        return statistics.median(rate for rate, _, _ in self.limits)

    def pooled(self, load_name: str, name: str) -> Summary:
        return summarise_loads(self.loads[load_name, name])

    def saturated(self, name: str) -> float:
        closed = (
            self.pooled(load_name, name).throughput
            for load_name, server_name in self.loads
            if server_name == name and load_name.startswith("closed")
        )
        return max(closed, default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--backbone", default=DEFAULT, metavar="NAME", help="backbone of the model")
    # Without a value, no peers are measured.
    decoders = ["plain", "evergreen"]
    parser.add_argument("--decoders", nargs="*", choices=decoders, default=decoders)
    parser.add_argument(
        "--peers", nargs="+", metavar="NAME", help="only peers whose names start so"
    )
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="*",
        default=[],
        metavar="CHECKOUT",
        help="another checkout of Evergreen",
    )
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--largest-px", type=int, default=4000, help="leave out wider photos")
    parser.add_argument("--stamped", action="store_true", help="make every photo a different file")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    photos = make_photos(options.largest_px)
    compared_servers, not_measured = select_servers(
        options.decoders, options.peers_python, options.peers, options.beside
    )
    measured = Measurements(options.workers)
    model = named(options.backbone)
    with Generator() as generator, bar() as progress, contextlib.ExitStack() as up:
        points = len(options.connections) + 2 * len(_SHARES)
        task = progress.add_task("servers", total=len(compared_servers) + options.rounds * points)
        servers = []
        for compared in compared_servers:
            try:
                servers.append(up.enter_context(paused(compared, model, photos, options)))
            except (RuntimeError, TimeoutError) as error:
                if compared.name == EVERGREEN:  # its capacity sets the loads of the others
                    raise
                not_measured.append(f"{compared.name}: not measured: {error}")
            progress.advance(task)
        for i in range(options.rounds):
            # Evergreen first, because its capacity sets loads of the peers.
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
            measured.memory[server.compared.name].append(memory(tree(server.pid)))
    report(measured, compared_servers, options.markdown)
    print(f"\nPhotos: {describe(photos)}.")
    for reason in not_measured:
        print(reason)


def _limit(
    model: Model, photos: tuple[Photo, ...], options: argparse.Namespace
) -> tuple[float, float, float]:
    images = [photo.content for photo in photos]
    cores, order = options.workers, request_order(photos)
    return in_process_limit.measure(
        model.content, model.pixels, images, order, cores, options.seconds
    )


def measure(
    server: StartedServer,
    loads: Iterator[tuple[str, Plan]],
    measured: Measurements,
    generator: Generator,
    progress: Progress,
) -> bool:
    """Run the next load of this server. Returns False if none is left."""
    load_name, plan = next(loads, ("", None))
    if plan is None:
        return False
    name = server.compared.name
    resume(server.pid)
    try:
        generator.run(server.plan)  # warms the caches after the stop
        title = f"{name}: {load_name}"
        load = wait(generator.start(plan), progress, title, plan.warm_up_s + plan.seconds)
    finally:
        pause(server.pid)
    measured.loads[load_name, name].append(load)
    summary = summarise_load(load)
    progress.print(f"{title}: {summary.throughput:.1f} / s, p99 {summary.p99_ms:.1f} ms")
    return True


def plans(
    server: StartedServer, measured: Measurements, options: argparse.Namespace, seed: int
) -> Iterator[tuple[str, Plan]]:
    """Yield the loads one by one, because the open loops depend on the capacity measured before."""
    compared = server.compared
    plan = replace(server.plan, seconds=options.seconds, seed=seed)
    for count in options.connections:
        yield f"closed, {count}", replace(plan, connections=count)
    open_loop = replace(plan, connections=64)
    for share in _SHARES:
        rate = share * measured.saturated(EVERGREEN)
        yield f"open, {share:.0%} of {EVERGREEN}'s", replace(open_loop, rate=rate)
    if compared.name != EVERGREEN:
        for share in _SHARES:
            rate = share * measured.saturated(compared.name)
            yield f"open, {share:.0%} of its own", replace(open_loop, rate=rate)


def report(measured: Measurements, compared_servers: list[ComparedServer], markdown: bool) -> None:
    p50, p99 = (statistics.median(limit[i] for limit in measured.limits) for i in (1, 2))
    rows = [
        ["in process", "the limit", f"{measured.limit:.1f}", "1.00", f"{p50:.1f}", f"{p99:.1f}"]
    ]
    rows[0] += [""] * 5
    for load_name in dict.fromkeys(load_name for load_name, _ in measured.loads):
        for name in (c.name for c in compared_servers if (load_name, c.name) in measured.loads):
            rows.append([load_name, name, *_figures(measured, load_name, name)])
    columns = ["load", "server", "answers / s", "of limit", "p50 ms", "p99 ms", "failed", "shed"]
    columns += ["fairness", "generator, cores", "... late, ms"]
    show("Predictions", columns, rows, markdown=markdown)
    memory_rows = [
        [name, f"{max(m.rss_mib for m in sizes):.0f}", _pss(sizes)]
        for name, sizes in measured.memory.items()
    ]
    show("Memory of all processes, MiB", ["server", "RSS", "PSS"], memory_rows, markdown=markdown)
    ratio = measured.saturated(EVERGREEN) / measured.limit
    print(f"\nEvergreen at saturation: {ratio:.2f} of the in-process limit (goal: at least 0.90).")
    behind = list(_behind(measured, compared_servers))
    if len(measured.memory) > 1:
        print(f"Behind a peer: {'; '.join(behind) or 'nowhere'}.")


def _figures(measured: Measurements, load_name: str, name: str) -> list[str]:
    summary, loads = measured.pooled(load_name, name), measured.loads[load_name, name]
    fairness = min(summarise_load(load).fairness(measured.num_workers) for load in loads)
    return [
        f"{summary.throughput:.1f}",
        f"{summary.throughput / measured.limit:.2f}",
        f"{summary.p50_ms:.1f}",
        f"{summary.p99_ms:.1f}",
        failures(summary.failures),
        str(summary.shed),
        f"{fairness:.2f}",
        f"{sum(x.generator_cpu_s for x in loads) / sum(x.seconds for x in loads):.2f}",
        f"{1000 * max(load.generator_late_s for load in loads):.1f}",
    ]


def _behind(measured: Measurements, compared_servers: list[ComparedServer]) -> Iterator[str]:
    """Yield the loads under which a peer has more throughput or a lower p99."""
    for load_name, name in measured.loads:
        if name == EVERGREEN or (load_name, EVERGREEN) not in measured.loads:
            continue
        ours, theirs = measured.pooled(load_name, EVERGREEN), measured.pooled(load_name, name)
        # In an open loop throughput differs only by chance.
        if theirs.throughput > ours.throughput * (1.0 if load_name.startswith("closed") else 1.02):
            yield f"{load_name}: {name}, {theirs.throughput:.1f} / s to {ours.throughput:.1f}"
        if theirs.p99_ms < ours.p99_ms:
            yield f"{load_name}: {name}, p99 {theirs.p99_ms:.1f} ms to {ours.p99_ms:.1f}"


def _pss(sizes: list[Memory]) -> str:
    known = [m.pss_mib for m in sizes if m.pss_mib is not None]
    return f"{max(known):.0f}" if known else "unknown"


if __name__ == "__main__":
    main()
