"""The table of the workers of a server: who lives, and how much each has to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.traffic import load_table as boards
from service.traffic.load_table import Board, board_of_server


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
def mine(tmp_path: Path, clock: Clock) -> Iterator[Board]:
    board = Board(tmp_path / "board", clock)
    yield board
    board.close()


def test_who_has_not_written_lately_does_not_count(mine: Board, other: Board, clock: Clock) -> None:
    other.write_alive()
    assert mine.pids() == {7: os.getpid()}
    clock.now += boards.FRESH_S + 1
    assert mine.pids() == {}


def test_what_was_written_before_the_machine_was_started_anew_does_not_count(
    mine: Board, other: Board, clock: Clock
) -> None:
    clock.now += 1_000_000
    other.write_alive()
    clock.now = 5.0
    assert mine.pids() == {}


def test_processes_take_places_of_their_own_and_leave_them_however_they_end(
    tmp_path: Path,
) -> None:
    board = Board(tmp_path / "board")
    board.write_alive()
    script = (
        "import os, sys; from pathlib import Path; from service.traffic.load_table import Board\n"
        "board = Board(Path(sys.argv[1])); in_work = board.in_work(board.mine)\n"
        "board.write_alive(); board.write_in_work(40)\n"
        "print(board.mine, *board.pids(), in_work, flush=True); os.kill(os.getpid(), 9)"
    )
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "board")],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert ended.stdout.split("\n")[0] == "1 0 0", "what the one before wrote is cleared"
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
