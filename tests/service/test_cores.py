"""The threads that predict: how many of them work at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from service.board import Board
from service.cores import Cores, may_begin
from tests.service.taught import wait_until

SOON_S = 10.0


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Board]:
    """Another process, as far as the board can tell."""
    board = Board(tmp_path / "board")
    board._mine = 7
    board.write(0.0)
    yield board
    board.close()


@pytest.fixture
def cores(tmp_path: Path) -> Iterator[Cores]:
    """Of a process with two threads, on a machine with two cores."""
    board = Board(tmp_path / "board")
    with Cores(2, 2, "predict", board) as pool:
        yield pool
    board.close()


class Busy:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> None:
        self.began.set()
        assert self.may_end.wait(SOON_S)


@pytest.mark.parametrize(
    ("mine", "elsewhere", "expected"),
    [
        ((1, 3), [], True),  # alone on the machine
        ((1, 1), [(0, 0)], True),
        ((2, 1), [(0, 0)], True),  # no core is free, but the other has nothing to do
        ((1, 1), [(1, 0)], False),
        ((1, 3), [(1, 3)], False),
        ((1, 15), [(1, 15)], False),
        ((1, 5), [(1, 1)], True),  # its clients came here
        ((1, 1), [(1, 5)], False),
        ((1, 1), [(1, 1), (0, 0)], False),
    ],
)
def test_one_more_works_where_a_core_is_free_or_more_is_to_be_done(
    mine: tuple[int, int], elsewhere: Sequence[tuple[int, int]], expected: bool
) -> None:
    assert may_begin(mine, elsewhere, num_cores=2) is expected


def test_results_and_errors_come_back() -> None:
    with Cores(1, 2, "predict", None) as pool:
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 7, 0).result()


def test_work_is_begun_in_the_order_in_which_it_came() -> None:
    busy, done = Busy(), []
    with Cores(1, 2, "predict", None) as pool:
        pool.submit(busy)
        for i in range(20):
            pool.submit(done.append, i)
        busy.may_end.set()
    assert done == list(range(20))


def test_without_a_board_all_threads_work() -> None:
    first, second = Busy(), Busy()
    with Cores(2, 1, "predict", None) as pool:
        pool.submit(first)
        pool.submit(second)
        assert second.began.wait(SOON_S)
        first.may_end.set()
        second.may_end.set()


def test_the_second_waits_while_another_process_has_the_core(cores: Cores, other: Board) -> None:
    first, second = Busy(), Busy()
    other.tell(1, 0)
    cores.submit(first)
    cores.submit(second)
    assert first.began.wait(SOON_S)
    assert not second.began.wait(0.1)
    other.write(0.0)
    other.tell(0, 0)  # it has done its own
    assert second.began.wait(SOON_S)
    first.may_end.set()
    second.may_end.set()


def test_the_first_thread_always_works(cores: Cores, other: Board) -> None:
    other.tell(2, 30)
    assert cores.submit(divmod, 7, 2).result(SOON_S) == (3, 1)


def test_a_process_with_more_to_do_gets_more_of_the_cores(cores: Cores, other: Board) -> None:
    works = [Busy() for _ in range(4)]
    other.tell(1, 0)
    for work in works:
        cores.submit(work)
    assert works[1].began.wait(SOON_S)
    for work in works:
        work.may_end.set()


def test_a_process_tells_what_runs_and_what_waits(cores: Cores, other: Board) -> None:
    works = [Busy() for _ in range(2)]
    other.tell(1, 0)
    own = cores._board
    assert own is not None
    own.write(0.0)
    for work in works:
        cores.submit(work)
    wait_until(lambda: other.elsewhere() == [(1, 1)], SOON_S)
    for work in works:
        work.may_end.set()
    own.write(0.0)
    wait_until(lambda: other.elsewhere() == [(0, 0)], SOON_S)


def test_what_was_submitted_is_done_before_the_threads_end() -> None:
    done: list[float] = []

    def work() -> None:
        time.sleep(0.01)
        done.append(time.monotonic())

    pool = Cores(2, 2, "predict", None)
    for _ in range(6):
        pool.submit(work)
    pool.shutdown()
    assert len(done) == 6
    with pytest.raises(RuntimeError, match="have ended"):
        pool.submit(work)


def test_what_is_cancelled_is_not_begun() -> None:
    busy = Busy()
    pool = Cores(1, 2, "predict", None)
    pool.submit(busy)
    assert busy.began.wait(SOON_S)
    waiting = [pool.submit(divmod, 7, 0) for _ in range(2)]
    assert waiting[0].cancel()
    pool.shutdown(wait=False, cancel_futures=True)
    busy.may_end.set()
    pool.shutdown()
    assert [future.cancelled() for future in waiting] == [True, True]
