"""The board, and clients that all came to one process: how many are told to connect anew."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from service.inference.predictor import Serving
from service.traffic import load_table as boards
from service.traffic.admission import Admission
from service.traffic.load_table import Board, board_of_server
from service.traffic.rebalancing import Spread, too_many
from tests.service.conftest import app_of
from tests.support import images

PHOTO = images.encode(images.scene(64, 64, seed=1), "PNG")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def other(tmp_path: Path, clock: Clock) -> Iterator[Board]:
    """Another process, as far as the board can tell."""
    # Locks are of a process: here, the place is taken by saying so.
    board = Board(tmp_path / "board", clock)
    board.mine = 7
    yield board
    board.close()


@pytest.fixture
def spread(tmp_path: Path, clock: Clock) -> Spread:
    return Spread(Admission(64, 60.0, clock), Board(tmp_path / "board", clock), clock)


@pytest.mark.parametrize(
    ("mine", "others", "expected"),
    [
        (8.0, [], 0),
        (1.0, [0.0], 0),
        (2.0, [0.0], 1),
        (7.0, [1.0], 3),
        (1.0, [7.0], 0),
        (5.0, [4.0], 0),
        (33.0, [30.0], 0),
        (40.0, [24.0], 8),
        (9.0, [9.0, 0.0], 3),
        (0.0, [9.0, 9.0], 0),
    ],
)
def test_clients_go_until_all_have_as_many(
    mine: float, others: Sequence[float], expected: int
) -> None:
    assert too_many(mine, others) == expected


def test_as_many_answers_close_as_clients_are_too_many(
    spread: Spread, other: Board, clock: Clock
) -> None:
    other.write(1.0)
    work(spread, clock, requests=7)
    assert [spread.closes() for _ in range(10)] == [True] * 3 + [False] * 7
    work(spread, clock, requests=7)
    assert not spread.closes(), "those that go now were still counted"
    other.write(1.0)
    work(spread, clock, requests=5)
    assert [spread.closes() for _ in range(3)] == [True, True, False]


def test_images_of_one_request_are_one_client(spread: Spread, other: Board, clock: Clock) -> None:
    other.write(0.0)
    with spread._admission.admitted(64):
        clock.now += 1
        spread.look()
    assert not spread.closes()


def test_it_says_on_average_how_many_requests_were_in_work(
    spread: Spread, other: Board, clock: Clock
) -> None:
    with spread._admission.admitted(1):
        clock.now += 0.25
    clock.now += 0.75
    spread.look()
    assert other.others() == [0.25]


def test_who_has_not_written_lately_does_not_count(
    spread: Spread, other: Board, clock: Clock
) -> None:
    other.write(0.0)
    clock.now += boards.FRESH_S + 1
    work(spread, clock, requests=8)
    assert not spread.closes()


def test_what_was_written_before_the_machine_was_started_anew_does_not_count(
    spread: Spread, other: Board, clock: Clock
) -> None:
    clock.now += 1_000_000
    other.write(0.0)
    clock.now = 5.0
    assert spread._board.others() == []


def test_processes_take_places_of_their_own_and_leave_them_however_they_end(
    tmp_path: Path,
) -> None:
    board = Board(tmp_path / "board")
    board.write(1.0)
    script = (
        "import os, sys; from pathlib import Path; from service.traffic.load_table import Board\n"
        "board = Board(Path(sys.argv[1])); in_work = board.in_work(board.mine)\n"
        "board.write(2.0); board.write_in_work(40)\n"
        "print(board.mine, board.others(), in_work, flush=True); os.kill(os.getpid(), 9)"
    )
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "board")],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert ended.stdout.split("\n")[0] == "1 [1.0] 0", "what the one before wrote is cleared"
        assert board.in_work(1) == 40
    board.close()


def test_boards_of_servers_that_have_ended_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"here-{ended.pid}.board").touch()
    (tmp_path / f"here-{ended.pid}.board.3.sock").touch()
    (tmp_path / f"elsewhere-{ended.pid}.board").touch()
    board = board_of_server(tmp_path, "here")
    assert board is not None
    board.close()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"here-{os.getppid()}.board",
        f"elsewhere-{ended.pid}.board",
    }


def test_where_there_can_be_no_board_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "boards").touch()
    assert board_of_server(tmp_path / "boards", "here") is None
    assert "board.impossible" in caplog.messages


def test_the_answer_itself_says_that_the_connection_closes(
    serving: Serving, spread: Spread, other: Board, clock: Clock
) -> None:
    other.write(0.0)
    work(spread, clock, requests=4)

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app_of(serving, spread=spread))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            paths = ["/v1/status"] * 3
            responses = [await client.get(path) for path in paths]
            sent = {"content": PHOTO, "headers": {"Content-Type": "image/png"}}
            return responses + [await client.post("/v1/predict", **sent) for _ in range(5)]  # type: ignore[arg-type]

    responses = asyncio.run(run())
    assert Counter(response.status_code for response in responses) == {200: 8}
    found = [response.headers.get("connection") for response in responses]
    assert found == [None] * 3 + ["close"] * 2 + [None] * 3


def work(spread: Spread, clock: Clock, requests: int) -> None:
    """So many requests, for as long as it takes until the next look."""
    admission = spread._admission
    held = [admission.admitted(1) for _ in range(requests)]
    for place in held:
        place.__enter__()
    clock.now += 0.5
    for place in held:
        place.__exit__(None, None, None)
    spread.look()
