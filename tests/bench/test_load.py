"""The load generator and what is made of its requests: a wrong bench is worse than none."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable

import pytest

from bench import load as load_module
from bench.cycles import Cycle, Parts, growth, old_after_new, p99_ratio, slope, split
from bench.images import Photo, deck
from bench.load import Plan
from bench.shots import OK, RESET, SHED, STATUS, TIMEOUT, Load, Shot, arrivals, goodput, percentile
from bench.shots import summary as summary_of
from bench.wire import parse, post

PHOTO = Photo("photo", b"the image", "image/jpeg", 1)
Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


def shot(due: float, latency_s: float = 0.01, kind: str = OK, worker: int = 1, version: int = 1):
    return Shot(due, due, due + latency_s, kind, 200, worker, version)


# --- percentiles and bookkeeping


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(percentile([], 0.5))


def test_what_is_due_outside_the_window_does_not_count() -> None:
    shots = [shot(0.5), shot(1.0), shot(2.9, latency_s=5), shot(3.0)]
    told = summary_of(Load(shots, 1.0, 3.0, 0.0, 0.0))
    assert (told.sent, told.throughput) == (2, 1.0)
    assert told.p99_ms == pytest.approx(5000)


def test_refusal_is_shed_and_not_failed() -> None:
    shots = [shot(0), shot(0, kind=SHED), shot(0, kind=TIMEOUT), shot(0, kind=STATUS)]
    told = summary_of(Load(shots, 0.0, 1.0, 0.0, 0.0))
    assert (told.shed, told.failed, told.failures) == (1, 2, {STATUS: 1, TIMEOUT: 1})


def test_goodput_counts_only_answers_in_time() -> None:
    shots = [shot(0, 0.5), shot(0, 1.5), shot(0, 0.1, kind=SHED)]
    assert goodput(Load(shots, 0.0, 1.0, 0.0, 0.0), within_s=1.0) == 1.0


def test_worker_without_an_answer_is_not_fair() -> None:
    told = summary_of(Load([shot(0, worker=7), shot(0, worker=7)], 0.0, 1.0, 0.0, 0.0))
    assert (told.fairness(1), told.fairness(2)) == (1.0, 0.0)


def test_arrivals_are_a_poisson_process_of_the_rate() -> None:
    found = list(arrivals(100, 200, seed=1))
    assert found == sorted(found)
    assert found == list(arrivals(100, 200, seed=1))
    assert len(found) == pytest.approx(20_000, abs=3 * math.sqrt(20_000))
    gaps = [b - a for a, b in itertools.pairwise(found)]
    # Of exponential gaps 63 % are below the mean.
    assert sum(gap < 0.01 for gap in gaps) / len(gaps) == pytest.approx(1 - 1 / math.e, abs=0.01)


def test_every_deck_holds_the_mix() -> None:
    photos = (Photo("a", b"", "", 3), Photo("b", b"", "", 1))
    order = deck(photos, num_decks=5)
    assert all(sorted(order[i : i + 4]) == [0, 0, 0, 1] for i in range(0, 20, 4))


# --- HTTP


def test_answer_is_read_only_once_it_is_whole() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nEvergreen-Worker: 42\r\n\r\n"
    whole += b'{"version":3}'
    assert all(parse(bytearray(whole[:i])) is None for i in range(len(whole)))
    reply = parse(bytearray(whole))
    assert reply is not None
    assert (reply.status, reply.worker, reply.version) == (200, 42, 3)


def test_form_announces_its_length() -> None:
    request = post("/p", PHOTO, form_field="content", stamped=True)
    head, _, body = request.parts(b"s" * 16).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'name="content"' in body


# --- the generator against a real socket


async def serve(answer: Answer, plan: dict[str, object]) -> Load:
    """Run a load against a server that reads whole requests and answers the n-th with `answer`."""
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
    asked = Plan(port, (request,), (0,), **{"warm_up_s": 0.0, **plan})  # type: ignore[arg-type]
    found = await load_module._Shooter(asked).perform()
    await asyncio.gather(*clients)
    server.close()
    await server.wait_closed()
    return found


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

    found = asyncio.run(serve(answer, {"seconds": 0.5, "rate": 200.0, "connections": 2}))
    kinds = [one.kind for one in found.shots]
    # To connect took a part of the time.
    assert len(kinds) <= len(list(arrivals(200, 0.5, seed=0)))
    assert {OK, SHED, STATUS, RESET} == set(kinds)


def test_latency_counts_from_when_the_request_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_MAX_CONNECTIONS", 1)

    async def slow(n: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(reply())

    plan: dict[str, object] = {"seconds": 0.2, "rate": 200.0, "connections": 1}
    found = asyncio.run(serve(slow, plan))
    # Each waits for all before it on the only connection; counted from sending, none would.
    last = max(found.shots)
    assert last.kind == OK
    assert last.sent - last.due > 0.02
    assert last.latency_s > last.done - last.sent


def test_silent_server_is_a_timeout() -> None:
    async def silent(n: int, writer: asyncio.StreamWriter) -> None:
        return

    plan: dict[str, object] = {"seconds": 0.1, "connections": 2, "timeout_s": 0.05}
    found = asyncio.run(serve(silent, plan))
    assert {one.kind for one in found.shots} == {TIMEOUT}


def test_closed_loop_asks_again_when_answered() -> None:
    async def answer(n: int, writer: asyncio.StreamWriter) -> None:
        writer.write(reply())

    found = asyncio.run(serve(answer, {"seconds": 0.2, "connections": 3}))
    assert len(found.shots) > 3
    assert {one.kind for one in found.shots} == {OK}


# --- swaps


def test_requests_belong_to_the_window_in_which_they_were_due() -> None:
    cycle = Cycle(version=2, asked_at=1.0, activate_at=1.5, settled_at=1.6, ended_at=2.0)
    shots = [shot(0.9, 0.5), shot(1.0), shot(1.59, 1.0), shot(1.6), shot(2.0)]
    (parts,) = split(shots, [cycle])
    assert [one.due for one in parts.during] == [1.0, 1.59]
    assert [one.due for one in parts.between] == [1.6]


def test_p99_ratio_of_equal_windows_is_one() -> None:
    parts = [Parts([shot(0, 0.1)] * 5, [shot(0, 0.1)] * 5)] * 10
    found = p99_ratio(parts, num_draws=20)
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)


def test_slope_is_per_thousand_and_knows_its_error() -> None:
    assert slope([0.5 + 0.001 * i for i in range(50)]) == pytest.approx((1.0, 0.0), abs=1e-6)
    steepness, error = slope([1.0, 2.0] * 50)
    assert abs(steepness) < 2 * error


def test_growth_is_from_the_first_tenth_to_the_last() -> None:
    assert growth([10.0] * 50 + [12.0] * 50) == 2.0


def test_old_version_after_a_new_one_is_found() -> None:
    activations = [(-1.0, 1), (1.0, 2), (2.0, 3), (3.0, 2)]
    fair = [shot(0.5, version=1), shot(1.5, version=2), shot(2.5, version=3), shot(3.5, version=2)]
    assert old_after_new(fair, activations) == 0
    assert old_after_new([*fair, shot(2.6, version=2), shot(3.6, version=3)], activations) == 2


def test_answer_that_was_under_way_at_the_switch_may_be_old() -> None:
    activations = [(-1.0, 1), (1.0, 2)]
    slow = shot(0.9, latency_s=0.6, version=1)
    assert old_after_new([slow, shot(1.1, version=2)], activations) == 0
