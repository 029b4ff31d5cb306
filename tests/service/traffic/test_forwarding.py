"""Images go to the process that has less to do, and their answers come back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from starlette.responses import Response

from core.errors import DeadlineExceeded, Overloaded
from service import metrics
from service.api.routes import predict
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Deadline, Ticket
from service.traffic.forwarding import Shared
from tests.service.two_workers import IMAGE, PID, Side, between
from tests.support import images


def test_what_would_wait_is_answered_by_the_other_one(board_path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            assert await here.elsewhere(top=3) == Shared(b"3 of an image", PID)
            # And again, over the same connection.
            assert await here.elsewhere() == Shared(b"5 of an image", PID)

    between(board_path, scenario)


def test_who_is_idle_answers_by_itself(board_path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        assert await here.elsewhere() is None

    between(board_path, scenario)


@pytest.mark.parametrize(
    ("here_in_work", "there_in_work"), [(1, 1), (2, 2), (2, 64), (5, 6), (3, 2), (16, 9)]
)
def test_it_stays_where_the_other_one_has_more_than_half_as_much_to_do(
    board_path: Path, here_in_work: int, there_in_work: int
) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with (
            here.admission.reserve(num_images=here_in_work),
            there.admission.reserve(num_images=there_in_work),
        ):
            assert await here.elsewhere() is None
        with here.admission.reserve(num_images=here_in_work):
            assert await here.elsewhere() is not None, "the other one is idle again"

    between(board_path, scenario)


@pytest.mark.parametrize(("here_in_work", "there_in_work"), [(2, 1), (3, 1), (4, 2), (16, 8)])
def test_it_goes_where_half_as_much_is_to_be_done(
    board_path: Path, here_in_work: int, there_in_work: int
) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with (
            here.admission.reserve(num_images=here_in_work),
            there.admission.reserve(num_images=there_in_work),
        ):
            assert await here.elsewhere() is not None

    between(board_path, scenario)


def test_it_goes_where_it_is_begun_at_once_however_little_waits_here(board_path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        here.sharing._at_once = 4
        with here.admission.reserve(num_images=4), there.admission.reserve(num_images=3):
            assert await here.elsewhere() is not None

    between(board_path, scenario)


def test_what_goes_elsewhere_is_no_work_here(board_path: Path) -> None:
    found: list[int] = []

    async def scenario(here: Side, there: Side) -> None:
        async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
            found.append(here.admission.in_flight)
            return b"done"

        there.sharing._answer = answer
        with here.admission.reserve():
            assert await here.elsewhere() == Shared(b"done", PID)
        assert found == [1]

    between(board_path, scenario)


def test_a_deadline_goes_with_the_image(board_path: Path) -> None:
    found: list[tuple[bytes, Deadline | None]] = []

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        found.append((image, deadline))
        return b"in time"

    until = Deadline(time.monotonic() + 2.5, 2_500)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            await here.elsewhere(deadline=until)
            await here.elsewhere(image=b"another")

    between(board_path, scenario, answer)
    assert found == [(IMAGE, until), (b"another", None)]


@pytest.mark.parametrize("error", [Overloaded("full"), DeadlineExceeded("late")])
def test_what_is_refused_elsewhere_is_not_counted(
    board_path: Path, error: Overloaded | DeadlineExceeded
) -> None:
    """The worker of the client predicts, and counts it if it refuses too."""

    def counted() -> tuple[float, float]:
        return metrics.shed._value.get(), metrics.deadlines_exceeded._value.get()

    async def refuse(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        raise error

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            assert await here.elsewhere() is None

    before = counted()
    between(board_path, scenario, refuse)
    assert counted() == before


def test_many_at_once_get_their_own_answers_whatever_their_size(board_path: Path) -> None:
    sizes = [1, 70_000, 9_999_999, *range(2, 40)]

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        await asyncio.sleep(0.001 * (len(image) % 7))
        return b"%d %s" % (len(image), image[:1] + image[-1:])

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve(num_images=2 * len(sizes)):
            found = await asyncio.gather(
                *(here.elsewhere(b"<" + b"x" * (size - 1) + b">") for size in sizes)
            )
        assert found == [Shared(b"%d <>" % (size + 1), PID) for size in sizes]

    between(board_path, scenario, answer)


def test_an_answer_from_elsewhere_is_as_one_from_here(
    serving: ServingProcess, board_path: Path
) -> None:
    photo = images.encode(images.scene(64, 64, seed=1), "PNG")

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        return await predict.predict_here(serving, image, deadline, top)

    async def scenario(here: Side, there: Side) -> None:
        async def ask(version: int | None = None) -> Response:
            ticket = Ticket(here.admission, 1)
            return await predict.predict_one(serving, photo, ticket, None, 2, version)

        mine = await ask()
        serving.sharing = here.sharing
        with here.admission.reserve():
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
        between(board_path, scenario, answer)
    finally:
        serving.sharing = None
