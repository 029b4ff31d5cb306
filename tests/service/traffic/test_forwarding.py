"""Images go to the less busy worker, and its responses come back."""

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
from service.traffic.forwarding import ForwardedAnswer
from tests.service.two_workers import IMAGE, PID, Side, between
from tests.support import images


def test_image_that_would_wait_is_forwarded(table_path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            assert await here.try_forward(top=3) == ForwardedAnswer(b"3 of an image", PID)
            # And again, over the same connection.
            assert await here.try_forward() == ForwardedAnswer(b"5 of an image", PID)

    between(table_path, scenario)


def test_forwarding_is_skipped_when_idle(table_path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        assert await here.try_forward() is None

    between(table_path, scenario)


@pytest.mark.parametrize(
    ("here_in_flight", "there_in_flight"), [(1, 1), (2, 2), (2, 64), (5, 6), (3, 2), (16, 9)]
)
def test_forwarding_is_skipped_when_the_peer_has_more_than_half_as_many_in_flight(
    table_path: Path, here_in_flight: int, there_in_flight: int
) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with (
            here.admission.reserve(num_images=here_in_flight),
            there.admission.reserve(num_images=there_in_flight),
        ):
            assert await here.try_forward() is None
        with here.admission.reserve(num_images=here_in_flight):
            assert await here.try_forward() is not None, "the peer is idle again"

    between(table_path, scenario)


@pytest.mark.parametrize(("here_in_flight", "there_in_flight"), [(2, 1), (3, 1), (4, 2), (16, 8)])
def test_image_is_forwarded_to_a_peer_with_half_as_many_in_flight(
    table_path: Path, here_in_flight: int, there_in_flight: int
) -> None:
    async def scenario(here: Side, there: Side) -> None:
        with (
            here.admission.reserve(num_images=here_in_flight),
            there.admission.reserve(num_images=there_in_flight),
        ):
            assert await here.try_forward() is not None

    between(table_path, scenario)


def test_image_is_forwarded_to_a_peer_with_an_idle_thread(table_path: Path) -> None:
    async def scenario(here: Side, there: Side) -> None:
        here.forwarder._max_parallel = 4
        with here.admission.reserve(num_images=4), there.admission.reserve(num_images=3):
            assert await here.try_forward() is not None

    between(table_path, scenario)


def test_forwarded_image_is_not_in_flight_here(table_path: Path) -> None:
    found: list[int] = []

    async def scenario(here: Side, there: Side) -> None:
        async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
            found.append(here.admission.in_flight)
            return b"done"

        there.forwarder._predict = answer
        with here.admission.reserve():
            assert await here.try_forward() == ForwardedAnswer(b"done", PID)
        assert found == [1]

    between(table_path, scenario)


def test_deadline_goes_with_the_image(table_path: Path) -> None:
    found: list[tuple[bytes, Deadline | None]] = []

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        found.append((image, deadline))
        return b"in time"

    until = Deadline(time.monotonic() + 2.5, 2_500)

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            await here.try_forward(deadline=until)
            await here.try_forward(image=b"another")

    between(table_path, scenario, answer)
    assert found == [(IMAGE, until), (b"another", None)]


@pytest.mark.parametrize("error", [Overloaded("full"), DeadlineExceeded("late")])
def test_refusal_of_a_peer_is_not_counted(
    table_path: Path, error: Overloaded | DeadlineExceeded
) -> None:
    """The worker of the client predicts, and counts a refusal of its own."""

    def counted() -> tuple[float, float]:
        return metrics.shed._value.get(), metrics.deadlines_exceeded._value.get()

    async def refuse(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        raise error

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve():
            assert await here.try_forward() is None

    before = counted()
    between(table_path, scenario, refuse)
    assert counted() == before


def test_concurrent_requests_get_their_own_responses_whatever_their_size(table_path: Path) -> None:
    sizes = [1, 70_000, 9_999_999, *range(2, 40)]

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        await asyncio.sleep(0.001 * (len(image) % 7))
        return b"%d %s" % (len(image), image[:1] + image[-1:])

    async def scenario(here: Side, there: Side) -> None:
        with here.admission.reserve(num_images=2 * len(sizes)):
            found = await asyncio.gather(
                *(here.try_forward(b"<" + b"x" * (size - 1) + b">") for size in sizes)
            )
        assert found == [ForwardedAnswer(b"%d <>" % (size + 1), PID) for size in sizes]

    between(table_path, scenario, answer)


def test_forwarded_response_is_like_one_from_here(
    serving: ServingProcess, table_path: Path
) -> None:
    photo = images.encode(images.scene(64, 64, seed=1), "PNG")

    async def answer(image: bytes, deadline: Deadline | None, top: int) -> bytes:
        return await predict.predict_here(serving, image, deadline, top)

    async def scenario(here: Side, there: Side) -> None:
        async def ask(version: int | None = None) -> Response:
            ticket = Ticket(here.admission, 1)
            return await predict.predict_one(serving, photo, ticket, None, 2, version)

        mine = await ask()
        serving.forwarder = here.forwarder
        with here.admission.reserve():
            forwarded, pinned = await ask(), await ask(serving.slot.version)
        found = [predict.PredictionResponse.model_validate_json(r.body) for r in (mine, forwarded)]
        assert len({answer.prediction_id for answer in found}) == 2
        assert found[0].model_dump(exclude={"prediction_id"}) == found[1].model_dump(
            exclude={"prediction_id"}
        )
        assert forwarded.headers["evergreen-worker"] == str(PID)
        assert pinned.headers["evergreen-worker"] == mine.headers["evergreen-worker"]
        del forwarded.headers["evergreen-worker"], mine.headers["evergreen-worker"]
        assert forwarded.headers == mine.headers

    try:
        between(table_path, scenario, answer)
    finally:
        serving.forwarder = None
