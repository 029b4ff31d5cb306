"""The load generator, and the statistics of its requests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable

import pytest

from bench import http_client, load_generator
from bench.http_client import parse, post
from bench.load_generator import Plan
from bench.load_results import (
    OK,
    RESET,
    SHED,
    STATUS,
    TIMEOUT,
    LoadResult,
    RequestResult,
    arrivals,
    goodput,
    percentile,
    summarise_load,
)
from bench.photo_mix import Photo, request_order
from bench.swap_statistics import Cycle, Parts, growth, old_after_new, p99_ratio, slope, split

pytestmark = pytest.mark.slow  # not in `make check`

PHOTO = Photo("photo", b"the image", "image/jpeg", 1)
Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


def result(due: float, latency_s: float = 0.01, kind: str = OK, worker: int = 1, version: int = 1):
    return RequestResult(due, due, due + latency_s, kind, 200, worker, version)


# --- percentiles and bookkeeping


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_percentile_without_values_is_nan() -> None:
    assert math.isnan(percentile([], 0.5))


def test_request_due_outside_the_window_does_not_count() -> None:
    results = [result(0.5), result(1.0), result(2.9, latency_s=5), result(3.0)]
    summary = summarise_load(LoadResult(results, 1.0, 3.0, 0.0, 0.0))
    assert (summary.sent, summary.throughput) == (2, 1.0)
    assert summary.p99_ms == pytest.approx(5000)


def test_rejection_is_shed_and_not_failed() -> None:
    results = [result(0), result(0, kind=SHED), result(0, kind=TIMEOUT), result(0, kind=STATUS)]
    summary = summarise_load(LoadResult(results, 0.0, 1.0, 0.0, 0.0))
    assert (summary.shed, summary.failed, summary.failures) == (1, 2, {STATUS: 1, TIMEOUT: 1})


def test_goodput_counts_only_answers_in_time() -> None:
    results = [result(0, 0.5), result(0, 1.5), result(0, 0.1, kind=SHED)]
    assert goodput(LoadResult(results, 0.0, 1.0, 0.0, 0.0), within_s=1.0) == 1.0


def test_fairness_is_zero_if_a_worker_gave_no_answer() -> None:
    summary = summarise_load(
        LoadResult([result(0, worker=7), result(0, worker=7)], 0.0, 1.0, 0.0, 0.0)
    )
    assert (summary.fairness(1), summary.fairness(2)) == (1.0, 0.0)


def test_arrivals_are_a_poisson_process_of_the_rate() -> None:
    times = list(arrivals(100, 200, seed=1))
    assert times == sorted(times)
    assert times == list(arrivals(100, 200, seed=1))
    assert len(times) == pytest.approx(20_000, abs=3 * math.sqrt(20_000))
    gaps = [b - a for a, b in itertools.pairwise(times)]
    # Of exponential gaps 63 % are below the mean.
    assert sum(gap < 0.01 for gap in gaps) / len(gaps) == pytest.approx(1 - 1 / math.e, abs=0.01)


def test_every_round_of_requests_has_the_whole_mix() -> None:
    photos = (Photo("a", b"", "", 3), Photo("b", b"", "", 1))
    order = request_order(photos, rounds=5)
    assert all(sorted(order[i : i + 4]) == [0, 0, 0, 1] for i in range(0, 20, 4))


# --- HTTP


def test_answer_is_parsed_only_when_complete() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nEvergreen-Worker: 42\r\n\r\n"
    whole += b'{"version":3}'
    assert all(parse(bytearray(whole[:i])) is None for i in range(len(whole)))
    reply = parse(bytearray(whole))
    assert reply is not None
    assert (reply.status, reply.worker, reply.version) == (200, 42, 3)


def test_form_has_the_right_content_length() -> None:
    request = post("/p", PHOTO, form_field="content", stamped=True)
    head, _, body = request.parts(b"s" * 16).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'name="content"' in body


# --- the generator against a real socket


async def serve(answer: Answer, plan: dict[str, object]) -> LoadResult:
    """Run a load against a server that answers the n-th request with `answer`."""
    request = post("/p", PHOTO, stamped=False)
    numbers = itertools.count(1)
    clients: set[asyncio.Task[None]] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readexactly(len(request.parts(b"")))
                await answer(next(numbers), writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    full_plan = Plan(port, (request,), (0,), **{"warm_up_s": 0.0, **plan})  # type: ignore[arg-type]
    load = await load_generator._LoadRunner(full_plan).run()
    await asyncio.gather(*clients)
    server.close()
    await server.wait_closed()
    return load


def reply(status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n{more}\r\n{{}}".encode()


def test_open_loop_sends_every_arrival_and_counts_each_kind() -> None:
    async def answer(n: int, writer: asyncio.StreamWriter) -> None:
        if n % 5 == 1:
            writer.write(reply("503 Service Unavailable", "Retry-After: 1\r\n"))
        elif n % 5 == 2:
            writer.write(reply("500 Internal Server Error"))
        elif n % 5 == 3:
            writer.close()
        else:
            writer.write(reply())

    load = asyncio.run(serve(answer, {"seconds": 0.5, "rate": 200.0, "connections": 2}))
    kinds = [one.kind for one in load.results]
    # Connecting takes a part of the time.
    assert len(kinds) <= len(list(arrivals(200, 0.5, seed=0)))
    assert {OK, SHED, STATUS, RESET} == set(kinds)


def test_latency_counts_from_when_the_request_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MAX_CONNECTIONS", 1)

    async def slow(n: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(reply())

    plan: dict[str, object] = {"seconds": 0.2, "rate": 200.0, "connections": 1}
    load = asyncio.run(serve(slow, plan))
    # Each request waits for all earlier ones on the only connection.
    last = max(load.results)
    assert last.kind == OK
    assert last.sent - last.due > 0.02
    assert last.latency_s > last.done - last.sent


def test_request_without_an_answer_times_out() -> None:
    async def silent(n: int, writer: asyncio.StreamWriter) -> None:
        return

    plan: dict[str, object] = {"seconds": 0.1, "connections": 2, "timeout_s": 0.05}
    load = asyncio.run(serve(silent, plan))
    assert {one.kind for one in load.results} == {TIMEOUT}


def test_closed_loop_sends_again_after_each_answer() -> None:
    async def answer(n: int, writer: asyncio.StreamWriter) -> None:
        writer.write(reply())

    load = asyncio.run(serve(answer, {"seconds": 0.2, "connections": 3}))
    assert len(load.results) > 3
    assert {one.kind for one in load.results} == {OK}


# --- swaps


def test_request_belongs_to_the_part_in_which_it_was_due() -> None:
    cycle = Cycle(version=2, requested_at=1.0, activate_at=1.5, settled_at=1.6, ended_at=2.0)
    results = [result(0.9, 0.5), result(1.0), result(1.59, 1.0), result(1.6), result(2.0)]
    (parts,) = split(results, [cycle])
    assert [one.due for one in parts.during] == [1.0, 1.59]
    assert [one.due for one in parts.between] == [1.6]


def test_p99_ratio_of_equal_parts_is_one() -> None:
    parts = [Parts([result(0, 0.1)] * 5, [result(0, 0.1)] * 5)] * 10
    ratio = p99_ratio(parts, num_draws=20)
    assert (ratio.low, ratio.value, ratio.high) == (1.0, 1.0, 1.0)


def test_slope_is_per_thousand_with_its_standard_error() -> None:
    assert slope([0.5 + 0.001 * i for i in range(50)]) == pytest.approx((1.0, 0.0), abs=1e-6)
    steepness, error = slope([1.0, 2.0] * 50)
    assert abs(steepness) < 2 * error


def test_growth_is_from_the_first_tenth_to_the_last() -> None:
    assert growth([10.0] * 50 + [12.0] * 50) == 2.0


def test_old_version_after_a_new_one_is_counted() -> None:
    activations = [(-1.0, 1), (1.0, 2), (2.0, 3), (3.0, 2)]
    fair = [
        result(0.5, version=1),
        result(1.5, version=2),
        result(2.5, version=3),
        result(3.5, version=2),
    ]
    assert old_after_new(fair, activations) == 0
    assert old_after_new([*fair, result(2.6, version=2), result(3.6, version=3)], activations) == 2


def test_request_in_flight_at_the_switch_may_get_the_old_version() -> None:
    activations = [(-1.0, 1), (1.0, 2)]
    slow = result(0.9, latency_s=0.6, version=1)
    assert old_after_new([slow, result(1.1, version=2)], activations) == 0
