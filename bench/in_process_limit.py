"""The in-process limit: the throughput of decoding and scoring alone, without a server.

One process per core decodes as Evergreen does and runs onnxruntime on one thread. There is no HTTP,
no database and no load generator, so no server on these cores can be faster.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier

from bench.load_results import percentile
from core.inputs.pixels.decoding import PixelSpec

_barrier: Barrier | None = None


def measure(
    model: bytes,
    spec: PixelSpec,
    photos: list[bytes],
    order: tuple[int, ...],
    cores: int,
    secs: float,
) -> tuple[float, float, float]:
    """Return photos per second of all processes, and the p50 and p99 of one photo in ms."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores)
    with ProcessPoolExecutor(cores, context, initializer=_set_barrier, initargs=(barrier,)) as pool:
        # Each process starts at another point of the order.
        shift = len(order) // cores
        orders = [order[i * shift :] + order[: i * shift] for i in range(cores)]
        parts = [pool.submit(_run_process, model, spec, photos, mine, secs) for mine in orders]
        results = [part.result() for part in parts]
    latencies = sorted(latency for part, _ in results for latency in part)
    rate = sum(len(part) / seconds for part, seconds in results)
    return rate, 1000 * percentile(latencies, 0.5), 1000 * percentile(latencies, 0.99)


def _set_barrier(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _run_process(
    model: bytes, spec: PixelSpec, photos: list[bytes], order: tuple[int, ...], secs: float
) -> tuple[list[float], float]:
    from core.inputs.pixels.decoding import decode
    from core.models.backbones import Runtime

    session = Runtime("cpu", 1).session(model)
    for photo in photos:
        session.run(["probabilities"], {"pixels": decode(photo, spec)[None]})
    assert _barrier is not None
    _barrier.wait(60)
    began = time.perf_counter()
    latencies: list[float] = []
    at = began
    while at - began < secs:
        for i in order[len(latencies) % len(order) :]:
            session.run(["probabilities"], {"pixels": decode(photos[i], spec)[None]})
            now = time.perf_counter()
            latencies.append(now - at)
            at = now
            if at - began >= secs:
                break
    return latencies, at - began
