"""Two processes of a server, as far as they can tell: images go to the one with less to do."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from starlette.responses import Response

from core.errors import DeadlineExceeded, NotReady, Overloaded
from service import metrics
from service import sharing as sharing_module
from service.admission import Admission, Deadline
from service.board import Board
from service.routes import predict
from service.serving import Serving
from service.sharing import Answering, Shared, Sharing
from tests import images

PID = 4711
IMAGE = b"an image"
_WITHIN_S = 30.0


@dataclasses.dataclass
class Side:
    """Of one of the two."""

    board: Board
    admission: Admission
    sharing: Sharing

    async def elsewhere(
        self, image: bytes = IMAGE, deadline: Deadline | None = None, top: int = 5
    ) -> Shared | None:
        async with asyncio.timeout(_WITHIN_S):
            return await self.sharing.elsewhere(image, deadline, top)


async def echo(image: bytes, deadline: Deadline | None, top: int) -> bytes:
    return b"%d of %s" % (top, image)


async def never(image: bytes, deadline: Deadline | None, top: int) -> bytes:
    await asyncio.sleep(_WITHIN_S)
    return b"late"


@contextlib.asynccontextmanager
async def side(path: Path, place: int, answer: Answering) -> AsyncIterator[Side]:
    board = Board(path)
    # Locks are of a process: here, the place is taken by saying so.
    board.mine = place
    admission = Admission(64, 60.0)
    sharing = await Sharing.start(board, admission, answer, at_once=1, max_bytes=10_000_000)
    assert sharing is not None
    board.write(0.0)
    try:
        yield Side(board, admission, sharing)
    finally:
        await sharing.stop()
        board.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Longer than a socket's path may be."""
    return tmp_path / ("a" * 120) / "b.board"


def between(
    path: Path,
    scenario: Callable[[Side, Side], Awaitable[None]],
    answer: Answering = echo,
    pid: int = PID,
) -> None:
    """Run a scenario of this process and another one, which answers with `answer`."""

    async def run() -> None:
        async with side(path, 0, never) as here, side(path, 7, answer) as there:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("os.getpid", lambda: pid)
                there.board.write(0.0)
            await scenario(here, there)

    asyncio.run(run())


def test_what_would_wait_is_answered_by_the_other_one(path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(1):
            assert await here.elsewhere(top=3) == Shared(b"3 of an image", PID)
            # And again, over the same connection.
            assert await here.elsewhere() == Shared(b"5 of an image", PID)

    between(path, scenario)


def test_who_is_idle_answers_by_itself(path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        assert await here.elsewhere() is None

    between(path, scenario)


@pytest.mark.parametrize(("here_in_work", "there_in_work"), [(1, 1), (2, 2), (2, 64), (5, 6)])
def test_it_stays_where_the_other_one_has_as_much_to_do(
    path: Path, here_in_work: int, there_in_work: int
) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(here_in_work), there.admission.admitted(there_in_work):
            assert await here.elsewhere() is None
        with here.admission.admitted(here_in_work):
            assert await here.elsewhere() is not None, "the other one is idle again"

    between(path, scenario)


def test_the_place_that_a_request_has_taken_is_not_before_it(path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        here.admission.take_place(None)
        assert await here.elsewhere() is None
        with there.admission.admitted(1):
            assert there.admission.in_line == 1

    between(path, scenario)


def test_what_goes_elsewhere_is_no_work_here_and_a_request_of_a_client_of_ours(path: Path) -> None:
    found: list[tuple[int, float]] = []

    async def scenario(here: Side, there: Side) -> None:
        async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
            began = here.admission.worked_s, there.admission.worked_s
            with there.admission.admitted(1, is_shared=True):
                await asyncio.sleep(0.02)
            ended = here.admission.worked_s, there.admission.worked_s
            assert ended[0] - began[0] >= 0.04, "the one that waits here and the one elsewhere"
            assert ended[1] == began[1]
            found.append((here.admission.in_line, there.admission.expected_wait_s))
            return b"done"

        there.sharing._answer = answer
        with here.admission.admitted(1):
            place = here.admission.take_place(None)
            assert await here.elsewhere() == Shared(b"done", PID)
            assert not place.is_held
        assert [in_line for in_line, _ in found] == [1]

    between(path, scenario)


def test_a_deadline_goes_with_the_image(path: Path) -> None:
    found: list[tuple[bytes, Deadline | None]] = []

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        found.append((image, deadline))
        return b"in time"

    until = Deadline(time.monotonic() + 2.5, 2_500)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(1):
            await here.elsewhere(deadline=until)
            await here.elsewhere(image=b"another")

    between(path, scenario, answer)
    shared = dataclasses.replace(until, is_shared=True)
    assert found == [(IMAGE, shared), (b"another", None)]


def test_what_is_refused_elsewhere_is_counted_here_alone() -> None:
    def counted() -> tuple[float, float]:
        return metrics.shed._value.get(), metrics.deadlines_exceeded._value.get()

    before = counted()
    admission = Admission(limit=1, max_wait_s=60.0)
    with admission.admitted(1), pytest.raises(Overloaded), admission.admitted(1, is_shared=True):
        pass
    with pytest.raises(DeadlineExceeded):
        Deadline(time.monotonic() - 1, 250, is_shared=True).check()
    assert counted() == before


def test_many_at_once_get_their_own_answers_whatever_their_size(path: Path) -> None:
    sizes = [1, 70_000, 9_999_999, *range(2, 40)]

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        await asyncio.sleep(0.001 * (len(image) % 7))
        return b"%d %s" % (len(image), image[:1] + image[-1:])

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(64):
            found = await asyncio.gather(
                *(here.elsewhere(b"<" + b"x" * (size - 1) + b">") for size in sizes)
            )
        assert found == [Shared(b"%d <>" % (size + 1), PID) for size in sizes]

    between(path, scenario, answer)


@pytest.mark.parametrize("error", [NotReady("starting"), ZeroDivisionError("broken")])
def test_what_the_other_one_cannot_answer_is_answered_here(
    path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        if image == IMAGE:
            raise error
        return b"fine"

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(1):
            assert await here.elsewhere() is None
            assert await here.elsewhere(b"another") == Shared(b"fine", PID)

    between(path, scenario, answer)
    is_unexpected = isinstance(error, ZeroDivisionError)
    assert ("sharing.unexpected" in caplog.messages) is is_unexpected


def test_one_that_ends_while_it_answers_is_not_asked_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(1):
            asking = asyncio.create_task(here.elsewhere())
            while not there.sharing._asking:
                await asyncio.sleep(0.001)
            await there.sharing.stop()
            assert await asking is None
            assert await here.elsewhere() is None
        assert caplog.messages.count("sharing.failed") == 1
        assert here.admission.in_line == 0

    between(path, scenario, never)


def test_one_that_is_stuck_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing_module, "_GIVE_UP_S", 0.05)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(2):
            answers = await asyncio.gather(*(here.elsewhere() for _ in range(5)))
            assert answers == [None] * 5
            assert len(there.sharing._asking) == 2, "it gets no more than there is here"

    between(path, scenario, never)


def test_whoever_stops_waiting_leaves_no_answer_for_others(path: Path) -> None:
    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        await asyncio.sleep(0.05 if image == IMAGE else 0)
        return image

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(1):
            asking = asyncio.create_task(here.elsewhere())
            await asyncio.sleep(0.01)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            for image in (b"1", b"2"):
                assert await here.elsewhere(image) == Shared(image, PID)

    between(path, scenario, answer)


def test_who_is_gone_from_the_board_is_not_asked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing_module, "_LOOK_S", 0.0)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.admitted(1):
            assert await here.elsewhere() is not None
            there.board._clear()
            assert await here.elsewhere() is None
            there.board.write(0.0)
            # Of the same place, but another process: its connections are new.
            found = await here.elsewhere()
            assert found is not None
            assert found.pid != PID

    between(path, scenario)


def test_a_socket_is_for_its_user_alone_and_goes_with_its_process(path: Path) -> None:
    async def run() -> None:
        async with side(path, 3, echo):
            (socket,) = path.parent.glob("*.sock")
            assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert not list(path.parent.glob("*.sock"))
        # One that was killed left its own.
        (path.parent / "b.board.3.sock").touch()
        async with side(path, 3, echo):
            assert path.parent.joinpath("b.board.3.sock").is_socket()

    asyncio.run(run())


def test_where_there_can_be_no_socket_all_is_answered_here(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(path: str) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr(sharing_module, "_listening", refused)

    async def run() -> None:
        board = Board(path)
        with contextlib.closing(board):
            started = await Sharing.start(board, Admission(64, 60.0), echo, 1, 1_000)
        assert started is None
        assert "sharing.impossible" in caplog.messages

    asyncio.run(run())


def test_an_answer_from_elsewhere_is_as_one_from_here(serving: Serving, path: Path) -> None:
    photo = images.encode(images.scene(64, 64, seed=1), "PNG")

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        return await predict.answer_shared(serving, image, deadline, top)

    async def scenario(here: Side, there: Side) -> None:
        async def ask(version: int | None = None) -> Response:
            receive = asyncio.Queue[dict[str, object]]().get
            return await predict.answer_one(receive, serving, photo, None, 2, version)

        mine = await ask()
        serving.sharing = here.sharing
        with here.admission.admitted(1):
            shared, pinned = await ask(), await ask(serving.slot.version)
        found = [predict.PredictionAnswer.model_validate_json(r.body) for r in (mine, shared)]
        assert len({answer.prediction_id for answer in found}) == 2
        assert found[0].model_dump(exclude={"prediction_id"}) == found[1].model_dump(
            exclude={"prediction_id"}
        )
        assert shared.headers["evergreen-worker"] == str(PID)
        assert pinned.headers["evergreen-worker"] == mine.headers["evergreen-worker"]
        del shared.headers["evergreen-worker"], mine.headers["evergreen-worker"]
        assert shared.headers == mine.headers

    try:
        between(path, scenario, answer)
    finally:
        serving.sharing = None
