"""Whatever goes wrong with a forwarded image, the worker that received it predicts it."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from pathlib import Path

import pytest

from core.errors import NotReady
from service.traffic import forwarding
from service.traffic.admission import Admission, Deadline
from service.traffic.forwarding import ForwardedAnswer, Forwarder
from service.traffic.load_table import LoadTable
from tests.service.two_workers import IMAGE, PID, Side, between, echo, never, side


@pytest.mark.parametrize("error", [NotReady("starting"), ZeroDivisionError("broken")])
def test_image_that_the_peer_cannot_predict_is_predicted_here(
    table_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        if image == IMAGE:
            raise error
        return b"fine"

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            assert await here.try_forward() is None
            assert await here.try_forward(b"another") == ForwardedAnswer(b"fine", PID)

    between(table_path, scenario, answer)
    is_unexpected = isinstance(error, ZeroDivisionError)
    assert ("forwarding.error" in caplog.messages) is is_unexpected


def test_peer_that_ends_while_it_predicts_gets_no_more_images(
    table_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            request = asyncio.create_task(here.try_forward())
            while not there.forwarder._connections:
                await asyncio.sleep(0.001)
            await there.forwarder.stop()
            assert await request is None
            assert await here.try_forward() is None
        assert caplog.messages.count("forwarding.failed") == 1
        assert here.admission.in_flight == 0

    between(table_path, scenario, never)


def test_stuck_peer_is_given_up(table_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_TIMEOUT_S", 0.05)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve(num_images=2):
            answers = await asyncio.gather(*(here.try_forward() for _ in range(5)))
            assert answers == [None] * 5
            assert len(there.forwarder._connections) == 2, "it gets no more than are in flight here"

    between(table_path, scenario, never)


def test_cancelled_request_leaves_no_response_for_others(table_path: Path) -> None:
    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        await asyncio.sleep(0.05 if image == IMAGE else 0)
        return image

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve(num_images=4):  # the cancelled request is in flight there
            request = asyncio.create_task(here.try_forward())
            await asyncio.sleep(0.01)
            request.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await request
            for image in (b"1", b"2"):
                assert await here.try_forward(image) == ForwardedAnswer(image, PID)

    between(table_path, scenario, answer)


def test_peer_without_a_heartbeat_gets_no_images(
    table_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_HEARTBEAT_S", 0.0)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            assert await here.try_forward() is not None
            there.table._clear()
            assert await here.try_forward() is None
            there.table.write_heartbeat()
            # In the same row, but another process: its connections are new.
            found = await here.try_forward()
            assert found is not None
            assert found.pid != PID

    between(table_path, scenario)


def test_socket_is_private_and_goes_with_its_process(table_path: Path) -> None:
    async def run() -> None:
        async with side(table_path, 3, echo):
            (socket,) = table_path.parent.glob("*.sock")
            assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert not list(table_path.parent.glob("*.sock"))
        # A killed worker has left its own.
        (table_path.parent / "b.load.3.sock").touch()
        async with side(table_path, 3, echo):
            assert table_path.parent.joinpath("b.load.3.sock").is_socket()

    asyncio.run(run())


def test_worker_without_a_socket_predicts_all_images(
    table_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: str) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr(forwarding, "listen", refuse)

    async def run() -> None:
        table = LoadTable(table_path)
        with contextlib.closing(table):
            assert not await Forwarder(table, Admission(64, 60.0), echo, 1, 1_000).start()
        assert "forwarding.unavailable" in caplog.messages

    asyncio.run(run())


def test_stopped_worker_forwards_nothing(table_path: Path) -> None:
    async def run() -> None:
        async with side(table_path, 7, echo):
            async with side(table_path, 0, never) as here:
                with here.admission.reserve():
                    assert await here.try_forward() is not None
            # A request that is still in flight while its process ends.
            with here.admission.reserve():
                assert await here.try_forward() is None

    asyncio.run(run())
