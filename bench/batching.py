"""Throughput with batching on and off, on a GPU or on the CPU.

    python -m bench.batching [--seconds 8] [--rounds 2] [--max-batch 32] [--markdown]

First the backbone alone is timed at each batch size, which limits what batching can gain. Then two
servers, one with batching and one without, get closed loops over HTTP in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from rich.progress import Progress

from bench.http_client import post
from bench.load_generator import Generator, Plan
from bench.load_results import LoadResult, percentile, summarise_loads
from bench.photo_mix import describe, make_photos, request_order
from bench.tables import bar, failures, show, wait
from core.models.backbones import Backbone, Runtime
from core.models.onnx_sessions import num_usable_gpus
from core.registry import versions
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import open_store
from core.system.host import available_cores
from service.inference import batcher
from tests.support.server import Server, running

_WARM_UP_S = 2.0
_MODES = ("off", "on")


@dataclass(frozen=True, slots=True)
class BatchedLoad:
    load: LoadResult
    # Runs of the batcher during the load, and the images in them.
    runs: float
    images: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--max-batch", type=int, default=32)
    workers = num_usable_gpus("auto") or available_cores()
    parser.add_argument("--workers", type=int, default=workers, help="as many in both modes")
    parser.add_argument("--largest-px", type=int, default=1600, help="leave out wider photos")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    show_model(options.max_batch, options.seconds, markdown=options.markdown)
    photos = make_photos(options.largest_px)
    requests = tuple(post("/v1/predict", photo, stamped=False) for photo in photos)
    loads: dict[tuple[int, str], list[BatchedLoad]] = defaultdict(list)
    with (
        Generator() as generator,
        server("off", options) as off,
        server("on", options) as on,
        bar() as progress,
    ):
        servers = {"off": off, "on": on}
        task = progress.add_task("rounds", total=options.rounds)
        for up in servers.values():
            plan = Plan(up.port, requests, request_order(photos), _WARM_UP_S, 8)
            generator.run(plan)
        for i in range(options.rounds):
            for count in options.connections:
                # In turns, so that changes of the machine affect both.
                for mode in _MODES if i % 2 == 0 else _MODES[::-1]:
                    plan = replace(plan, port=servers[mode].port, connections=count, seed=i)
                    plan = replace(plan, seconds=options.seconds)
                    measured = measure(servers[mode], plan, mode, generator, progress)
                    loads[count, mode].append(measured)
            progress.advance(task)
        descriptions = {mode: describe_server(up) for mode, up in servers.items()}
    rows = [row(count, mode, loads) for count in options.connections for mode in _MODES]
    columns = ["load", "batching", "answers / s", "of off", "p50 ms", "p99 ms", "failed", "shed"]
    columns += ["images a run", "generator, cores"]
    show("Batching", columns, rows, markdown=options.markdown)
    for mode, text in descriptions.items():
        print(f"{mode}: {text}")
    print(f"Photos: {describe(photos)}.")


def show_model(max_batch: int, seconds: float, *, markdown: bool) -> None:
    """Time the backbone of version 1 in this process, at each batch size of a server."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Settings(home=Path(folder)))
        ensure_first_version(store)
        with store.db.read() as conn:
            manifest = versions.read_manifest(versions.get(conn, 1), store)
        content = store.blobs.get(manifest.backbone)
        store.db.close()
    runtime = Runtime()
    sizes = batcher.sizes(max_batch)
    backbone = Backbone(content, "", runtime, sizes if runtime.is_on_gpu else ())
    size_px = manifest.input_spec.size_px
    rows = []
    for size in sizes:
        pixels_BHWC = np.random.default_rng(0).integers(
            0, 256, (size, size_px, size_px, 3), dtype=np.uint8
        )
        times = sorted(times_of(backbone, pixels_BHWC, seconds / len(sizes)))
        rate = size / (sum(times) / len(times))
        p50, p99 = (1000 * percentile(times, share) for share in (0.5, 0.99))
        rows.append([str(size), f"{rate:.0f}", f"{p50:.2f}", f"{p99:.2f}"])
    title = f"The backbone alone, one process, {runtime.provider}"
    show(title, ["images a run", "images / s", "p50 ms a run", "p99 ms"], rows, markdown=markdown)


def times_of(backbone: Backbone, pixels_BHWC: NDArray[np.uint8], seconds: float) -> Iterator[float]:
    for _ in range(3):
        backbone.embed(pixels_BHWC)
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        backbone.embed(pixels_BHWC)
        yield time.perf_counter() - began


@contextlib.contextmanager
def server(mode: str, options: argparse.Namespace) -> Iterator[Server]:
    """Start a server in this mode, with an empty home folder."""
    settings = {
        "EVERGREEN_BATCHING": mode,
        "EVERGREEN_MAX_BATCH": str(options.max_batch),
        "EVERGREEN_RUN_TRAINER": "false",
        # Nothing is rejected, because queueing is part of the measurement.
        "EVERGREEN_MAX_IN_FLIGHT": "256",
        "EVERGREEN_MAX_WAIT_S": "60",
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "home", workers=options.workers, **settings) as up,
    ):
        yield up


def measure(
    up: Server, plan: Plan, mode: str, generator: Generator, progress: Progress
) -> BatchedLoad:
    before = batches(up)
    title = f"batching {mode}: closed, {plan.connections}"
    load = wait(generator.start(plan), progress, title, plan.warm_up_s + plan.seconds)
    after = batches(up)
    return BatchedLoad(load, after[0] - before[0], after[1] - before[1])


def batches(up: Server) -> tuple[float, float]:
    """Return the runs of the batcher and the images in them, since the server started."""
    text = up.http.get("/metrics", timeout=10).text
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    name = "evergreen_batch_size"
    return samples.get(f"{name}_count", 0.0), samples.get(f"{name}_sum", 0.0)


def describe_server(up: Server) -> str:
    status = up.status()
    providers = {worker["provider"] for worker in status["workers"]}
    batch = status["max_batch"]
    batches = f"batches of at most {batch}" if batch else "no batches"
    return f"{len(status['workers'])} workers, {', '.join(sorted(providers))}, {batches}"


def row(count: int, mode: str, loads: dict[tuple[int, str], list[BatchedLoad]]) -> list[str]:
    own = [measured.load for measured in loads[count, mode]]
    summary, off = (
        summarise_loads(own),
        summarise_loads([measured.load for measured in loads[count, "off"]]),
    )
    runs = sum(measured.runs for measured in loads[count, mode])
    images = sum(measured.images for measured in loads[count, mode])
    seconds = sum(load.seconds for load in own)
    return [
        f"closed, {count}",
        mode,
        f"{summary.throughput:.1f}",
        f"{summary.throughput / off.throughput:.2f}",
        f"{summary.p50_ms:.1f}",
        f"{summary.p99_ms:.1f}",
        failures(summary.failures),
        str(summary.shed),
        f"{images / runs:.1f}" if runs else "",
        f"{sum(load.generator_cpu_s for load in own) / seconds:.2f}",
    ]


if __name__ == "__main__":
    main()
