"""Whatever goes wrong with an image that was handed on, it is answered where it came to."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from pathlib import Path

import pytest

from core.errors import NotReady
from service.traffic import forwarding as sharing_module
from service.traffic.admission import Admission, Deadline
from service.traffic.forwarding import Shared, Sharing
from service.traffic.load_table import Board
from tests.service.two_workers import IMAGE, PID, Side, between, echo, never, side


@pytest.mark.parametrize("error", [NotReady("starting"), ZeroDivisionError("broken")])
def test_what_the_other_one_cannot_answer_is_answered_here(
    board_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        if image == IMAGE:
            raise error
        return b"fine"

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            assert await here.elsewhere() is None
            assert await here.elsewhere(b"another") == Shared(b"fine", PID)

    between(board_path, scenario, answer)
    is_unexpected = isinstance(error, ZeroDivisionError)
    assert ("sharing.unexpected" in caplog.messages) is is_unexpected


def test_one_that_ends_while_it_answers_is_not_asked_again(
    board_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            asking = asyncio.create_task(here.elsewhere())
            while not there.sharing._asking:
                await asyncio.sleep(0.001)
            await there.sharing.stop()
            assert await asking is None
            assert await here.elsewhere() is None
        assert caplog.messages.count("sharing.failed") == 1
        assert here.admission.in_flight == 0

    between(board_path, scenario, never)


def test_one_that_is_stuck_is_given_up(board_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing_module, "_GIVE_UP_S", 0.05)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve(num_images=2):
            answers = await asyncio.gather(*(here.elsewhere() for _ in range(5)))
            assert answers == [None] * 5
            assert len(there.sharing._asking) == 2, "it gets no more than there is here"

    between(board_path, scenario, never)


def test_whoever_stops_waiting_leaves_no_answer_for_others(board_path: Path) -> None:
    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        await asyncio.sleep(0.05 if image == IMAGE else 0)
        return image

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve(num_images=4):  # the one that is left counts there
            asking = asyncio.create_task(here.elsewhere())
            await asyncio.sleep(0.01)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            for image in (b"1", b"2"):
                assert await here.elsewhere(image) == Shared(image, PID)

    between(board_path, scenario, answer)


def test_who_is_gone_from_the_board_is_not_asked(
    board_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing_module, "_LOOK_S", 0.0)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            assert await here.elsewhere() is not None
            there.board._clear()
            assert await here.elsewhere() is None
            there.board.write_alive()
            # Of the same place, but another process: its connections are new.
            found = await here.elsewhere()
            assert found is not None
            assert found.pid != PID

    between(board_path, scenario)


def test_a_socket_is_for_its_user_alone_and_goes_with_its_process(board_path: Path) -> None:
    async def run() -> None:
        async with side(board_path, 3, echo):
            (socket,) = board_path.parent.glob("*.sock")
            assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert not list(board_path.parent.glob("*.sock"))
        # One that was killed left its own.
        (board_path.parent / "b.board.3.sock").touch()
        async with side(board_path, 3, echo):
            assert board_path.parent.joinpath("b.board.3.sock").is_socket()

    asyncio.run(run())


def test_where_there_can_be_no_socket_all_is_answered_here(
    board_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(path: str) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr(sharing_module, "_listening", refused)

    async def run() -> None:
        board = Board(board_path)
        with contextlib.closing(board):
            started = await Sharing.start(board, Admission(64, 60.0), echo, 1, 1_000)
        assert started is None
        assert "sharing.impossible" in caplog.messages

    asyncio.run(run())


def test_one_that_stops_hands_nothing_on_any_more(board_path: Path) -> None:
    async def run() -> None:
        async with side(board_path, 7, echo):
            async with side(board_path, 0, never) as here:
                with here.admission.reserve():
                    assert await here.elsewhere() is not None
            # A request that is in work still, as its process ends.
            with here.admission.reserve():
                assert await here.elsewhere() is None

    asyncio.run(run())
