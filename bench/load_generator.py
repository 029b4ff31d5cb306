"""A load generator in a process of its own, with a closed or an open loop.

    python -m bench.load_generator --port 3000 --connections 8
    python -m bench.load_generator --port 3000 --rate 50

In a closed loop each client sends its next request when the answer arrives, which measures the
capacity of a server. In an open loop requests arrive at random at a given rate, as those of many
independent clients do, and latency counts from the arrival (`bench/load_results.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from bench.http_client import ConnectionPool, Reply, Request, post, stamp
from bench.load_results import (
    OK,
    RESET,
    SHED,
    STATUS,
    TIMEOUT,
    LoadResult,
    RequestResult,
    arrivals,
    percentile,
    summarise_load,
)
from bench.photo_mix import describe, make_photos, request_order

_LONGEST_PAUSE_S = 1.0

_stop: Event | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    port: int
    requests: tuple[Request, ...]
    # Indices into `requests` in the order of sending, repeated without end.
    order: tuple[int, ...]
    seconds: float
    # Clients in a closed loop. Connections opened at the start in an open loop.
    connections: int = 64
    # Requests per second, or None for a closed loop.
    rate: float | None = None
    warm_up_s: float = 1.0
    # Counted from when a request is due.
    timeout_s: float = 10.0
    # Whether every image is made a different file. Otherwise the same few files repeat.
    is_stamped: bool = False
    seed: int = 0


class Generator:
    """The process that generates loads, one at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._pool = ProcessPoolExecutor(1, context, initializer=_set_stop, initargs=(self._stop,))

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._pool.shutdown()

    def start(self, plan: Plan) -> Future[LoadResult]:
        self._stop.clear()
        return self._pool.submit(run_load, plan)

    def run(self, plan: Plan) -> LoadResult:
        return self.start(plan).result()

    def stop(self) -> None:
        """End the load now. Its result holds the requests until then."""
        self._stop.set()


def run_load(plan: Plan) -> LoadResult:
    """Run a load in this process, with uvloop if it is installed."""
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_LoadRunner(plan).run())
    finally:
        gc.enable()
        gc.collect()


class _LoadRunner:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._order = itertools.cycle(plan.order)
        self._results: list[RequestResult] = []
        self._late: list[float] = []
        self._pool = ConnectionPool(plan.port)

    async def run(self) -> LoadResult:
        plan, cpu = self._plan, time.process_time()
        began = time.monotonic() + plan.warm_up_s
        if plan.rate is None:
            await asyncio.gather(
                *(self._client(i, began + plan.seconds) for i in range(plan.connections))
            )
        else:
            await self._open_loop(plan.rate, began + plan.seconds)
        last = max((result.due for result in self._results), default=began)
        ended = min(began + plan.seconds, last + 1e-6) if _is_stopped() else began + plan.seconds
        late_s = percentile(sorted(self._late), 0.99) if self._late else 0.0
        self._pool.close()
        return LoadResult(self._results, began, ended, time.process_time() - cpu, late_s)

    def _opening_s(self) -> float:
        """Return the pause between two connects, which take the first half of the warm-up.

        If all clients connected in one millisecond, the worker that wakes first would accept all.
        """
        return self._plan.warm_up_s / 2 / self._plan.connections

    async def _client(self, number: int, until: float) -> None:
        await asyncio.sleep(number * self._opening_s())
        while (now := time.monotonic()) < until and not _is_stopped():
            reply = await self._send(now)
            if reply is None:
                await asyncio.sleep(0.05)
            elif reply.status == 503:
                await asyncio.sleep(min(reply.retry_after_s, _LONGEST_PAUSE_S))

    async def _open_loop(self, rate: float, until: float) -> None:
        for _ in range(self._plan.connections):
            self._pool.release(await self._pool.connect())
            await asyncio.sleep(self._opening_s())
        tasks: set[asyncio.Task[Reply | None]] = set()
        start = time.monotonic()
        for at in arrivals(rate, until - start, self._plan.seed):
            await asyncio.sleep(max(0.0, start + at - time.monotonic()))
            if _is_stopped():
                break
            self._late.append(time.monotonic() - start - at)
            task = asyncio.create_task(self._send(start + at))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def _send(self, due: float) -> Reply | None:
        plan = self._plan
        sent, reply, connection = due, None, None
        request = plan.requests[next(self._order)].parts(stamp() if plan.is_stamped else b"")
        try:
            connection = await self._pool.acquire(due + plan.timeout_s)
            sent = time.monotonic()
            reply = await connection.exchange(request, due + plan.timeout_s - sent)
            kind = {200: OK, 503: SHED}.get(reply.status, STATUS)
        except TimeoutError:
            kind = TIMEOUT
        except OSError:
            kind = RESET
        done = time.monotonic()
        if connection is not None:
            self._pool.release(connection)
        if reply is None:
            self._results.append(RequestResult(due, sent, done, kind, 0, 0, 0))
        else:
            answer = (kind, reply.status, reply.worker, reply.version)
            self._results.append(RequestResult(due, sent, done, *answer))
        return reply


def _set_stop(stop: Event) -> None:
    global _stop
    _stop = stop


def _is_stopped() -> bool:
    return _stop is not None and _stop.is_set()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--path", default="/v1/predict")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rate", type=float, help="requests per second, in an open loop")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    photos = make_photos()
    print(describe(photos))
    requests = tuple(post(options.path, photo, stamped=False) for photo in photos)
    limits = (options.seconds, options.connections, options.rate)
    load = run_load(Plan(options.port, requests, request_order(photos), *limits))
    print(summarise_load(load))
    print(f"the generator took {load.generator_cpu_s:.2f} s of CPU time")


if __name__ == "__main__":
    main()
