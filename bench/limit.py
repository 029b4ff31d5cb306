"""The in-process limit: what the cores can do with the model and the photos, and nothing else.

One process for each core: decode as Evergreen does, onnxruntime on one thread, the next photo. No
HTTP, no rows, no load generator beside it. No server on these cores can be faster.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier

from bench.shots import percentile
from core.inputs.pixels import PixelSpec

_barrier: Barrier | None = None


def throughput(
    model: bytes,
    spec: PixelSpec,
    photos: list[bytes],
    order: tuple[int, ...],
    cores: int,
    secs: float,
) -> tuple[float, float, float]:
    """Photos a second of all processes, and the p50 and p99 of one photo in ms."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores)
    with ProcessPoolExecutor(cores, context, initializer=_keep, initargs=(barrier,)) as pool:
        # Each begins somewhere else in the mix.
        shift = len(order) // cores
        orders = [order[i * shift :] + order[: i * shift] for i in range(cores)]
        parts = [pool.submit(_one, model, spec, photos, mine, secs) for mine in orders]
        found = [part.result() for part in parts]
    latencies = sorted(latency for part, _ in found for latency in part)
    rate = sum(len(part) / seconds for part, seconds in found)
    return rate, 1000 * percentile(latencies, 0.5), 1000 * percentile(latencies, 0.99)


def _keep(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _one(
    model: bytes, spec: PixelSpec, photos: list[bytes], order: tuple[int, ...], secs: float
) -> tuple[list[float], float]:
    from core.inputs.pixels import decode
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
