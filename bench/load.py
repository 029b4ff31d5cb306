"""A load generator in a process of its own: closed loop or open loop, and every request kept.

    python -m bench.load --port 3000 --connections 8
    python -m bench.load --port 3000 --rate 50

Closed loop: so many clients, each asking again as soon as it is answered. It finds how much a
server can do. Open loop: requests arrive at random at a given rate, whatever the server does, as
those of many people do, and wait for it if it is behind (`bench/shots.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import multiprocessing
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from bench.images import deck, describe, mix
from bench.shots import OK, RESET, SHED, STATUS, TIMEOUT, Load, Shot, arrivals, percentile, summary
from bench.wire import Connection, Reply, Request, post, stamp

# Servers close connections that were idle for 5 s, and what is sent at that moment is lost.
_IDLE_S = 4.0
_MAX_CONNECTIONS = 1000
_LONGEST_PAUSE_S = 1.0

_stop: Event | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    port: int
    requests: tuple[Request, ...]
    # Indices into `requests`, in the order in which they are sent, again and again.
    order: tuple[int, ...]
    seconds: float
    # Closed loop: so many clients. Open loop: so many connections to begin with.
    connections: int = 64
    # Requests a second; None: closed loop.
    rate: float | None = None
    warm_up_s: float = 1.0
    # From when a request is due.
    timeout_s: float = 10.0
    # Every image is another file, as in life; otherwise the same few come again.
    is_stamped: bool = False
    seed: int = 0


class Generator:
    """The process. One load at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._pool = ProcessPoolExecutor(1, context, initializer=_keep, initargs=(self._stop,))

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._pool.shutdown()

    def start(self, plan: Plan) -> Future[Load]:
        self._stop.clear()
        return self._pool.submit(perform, plan)

    def run(self, plan: Plan) -> Load:
        return self.start(plan).result()

    def stop(self) -> None:
        """End the load now; its result is what was measured until then."""
        self._stop.set()


def perform(plan: Plan) -> Load:
    """In this process, with uvloop if it is there."""
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_Shooter(plan).perform())
    finally:
        gc.enable()
        gc.collect()


class _Shooter:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._order = itertools.cycle(plan.order)
        self._shots: list[Shot] = []
        self._late: list[float] = []
        # In the order of their last use, so that all of them are used.
        self._idle: deque[Connection] = deque()
        self._num_open = 0
        self._waiting: deque[asyncio.Future[Connection]] = deque()

    async def perform(self) -> Load:
        plan, cpu = self._plan, time.process_time()
        began = time.monotonic() + plan.warm_up_s
        if plan.rate is None:
            await asyncio.gather(
                *(self._client(i, began + plan.seconds) for i in range(plan.connections))
            )
        else:
            await self._open_loop(plan.rate, began + plan.seconds)
        last = max((shot.due for shot in self._shots), default=began)
        ended = min(began + plan.seconds, last + 1e-6) if _is_stopped() else began + plan.seconds
        late_s = percentile(sorted(self._late), 0.99) if self._late else 0.0
        for connection in self._idle:
            connection.close()
        return Load(self._shots, began, ended, time.process_time() - cpu, late_s)

    def _opening_s(self) -> float:
        """People do not connect all in one millisecond, when whichever worker wakes first gets
        them all: the first half of the warm-up is for connecting."""
        return self._plan.warm_up_s / 2 / self._plan.connections

    async def _client(self, number: int, until: float) -> None:
        await asyncio.sleep(number * self._opening_s())
        while (now := time.monotonic()) < until and not _is_stopped():
            reply = await self._shoot(now)
            if reply is None:
                await asyncio.sleep(0.05)
            elif reply.status == 503:
                await asyncio.sleep(min(reply.retry_after_s, _LONGEST_PAUSE_S))

    async def _open_loop(self, rate: float, until: float) -> None:
        for _ in range(self._plan.connections):
            self._give(await self._connect())
            await asyncio.sleep(self._opening_s())
        tasks: set[asyncio.Task[Reply | None]] = set()
        start = time.monotonic()
        for at in arrivals(rate, until - start, self._plan.seed):
            await asyncio.sleep(max(0.0, start + at - time.monotonic()))
            if _is_stopped():
                break
            self._late.append(time.monotonic() - start - at)
            task = asyncio.create_task(self._shoot(start + at))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def _shoot(self, due: float) -> Reply | None:
        plan = self._plan
        sent, reply, connection = due, None, None
        request = plan.requests[next(self._order)].parts(stamp() if plan.is_stamped else b"")
        try:
            connection = await self._take(due + plan.timeout_s)
            sent = time.monotonic()
            reply = await connection.exchange(request, due + plan.timeout_s - sent)
            kind = {200: OK, 503: SHED}.get(reply.status, STATUS)
        except TimeoutError:
            kind = TIMEOUT
        except OSError:
            kind = RESET
        done = time.monotonic()
        if connection is not None:
            self._give(connection)
        if reply is None:
            self._shots.append(Shot(due, sent, done, kind, 0, 0, 0))
        else:
            found = (kind, reply.status, reply.worker, reply.version)
            self._shots.append(Shot(due, sent, done, *found))
        return reply

    async def _take(self, until: float) -> Connection:
        """Raises TimeoutError, OSError."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.is_open and time.monotonic() - connection.used_at < _IDLE_S:
                return connection
            connection.close()
            self._num_open -= 1
        async with asyncio.timeout(until - time.monotonic()):
            if self._num_open < _MAX_CONNECTIONS:
                return await self._connect()
            free: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
            self._waiting.append(free)
            try:
                return await free
            except asyncio.CancelledError:
                if free.done() and not free.cancelled():
                    self._give(free.result())
                raise

    async def _connect(self) -> Connection:
        self._num_open += 1
        try:
            return await Connection.open(self._plan.port)
        except BaseException:
            self._num_open -= 1
            raise

    def _give(self, connection: Connection) -> None:
        connection.used_at = time.monotonic()
        while self._waiting:
            free = self._waiting.popleft()
            if not free.done():
                free.set_result(connection)
                return
        self._idle.append(connection)


def _keep(stop: Event) -> None:
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
    parser.add_argument("--rate", type=float, help="open loop, requests a second")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    photos = mix()
    print(describe(photos))
    requests = tuple(post(options.path, photo, stamped=False) for photo in photos)
    rest = (options.seconds, options.connections, options.rate)
    found = perform(Plan(options.port, requests, deck(photos), *rest))
    print(summary(found))
    print(f"the generator took {found.generator_cpu_s:.2f} s of the processor")


if __name__ == "__main__":
    main()
