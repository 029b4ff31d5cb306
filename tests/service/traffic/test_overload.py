"""More requests than a worker can predict: what it refuses, and that it then goes on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from core.errors import DeadlineExceeded, Overloaded
from service.api import request_bodies
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Admission, Deadline
from tests.service import assert_problem
from tests.service.conftest import app_of, settings_in
from tests.service.trained_home import start_with_the_starter
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`

JPEG = {"Content-Type": "image/jpeg"}
LARGE = images.encode(images.scene(2400, 1800, seed=1), "JPEG")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    """At most two images in flight."""
    settings = settings_in(tmp_path_factory.mktemp("small"))
    started = start_with_the_starter(
        settings.model_copy(update={"max_in_flight": 2, "max_wait_s": 60.0})
    )
    yield started
    started.stop()


def concurrently(
    serving: ServingProcess, count: int, headers: dict[str, str], per_request: int = 0
) -> list[httpx.Response]:
    """Send so many requests concurrently, each with one image, or `per_request` in a form."""

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app_of(serving))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            if per_request:
                files = [("image", (f"{n}.jpg", LARGE)) for n in range(per_request)]
                asked = [
                    client.post("/v1/predict", files=files, headers=headers) for _ in range(count)
                ]
            else:
                sent = {**JPEG, **headers}
                asked = [
                    client.post("/v1/predict", content=LARGE, headers=sent) for _ in range(count)
                ]
            return await asyncio.gather(*asked)

    return asyncio.run(run())


def test_requests_over_the_limit_are_refused_and_the_rest_predicted(
    small: ServingProcess,
) -> None:
    responses = concurrently(small, 12, {})
    found = Counter(response.status_code for response in responses)
    assert found[200] >= 2
    assert found[503] >= 1
    assert found[200] + found[503] == 12
    refused = next(response for response in responses if response.status_code == 503)
    assert_problem.problem(refused, 503, "overloaded", "the limit is 2", "EVERGREEN_MAX_IN_FLIGHT")
    assert refused.headers["retry-after"] == "1"
    assert concurrently(small, 1, {})[0].status_code == 200, "nothing is left in flight"


def test_request_of_more_images_than_the_limit_is_admitted_when_there_is_room(
    small: ServingProcess,
) -> None:
    (response,) = concurrently(small, 1, {}, per_request=4)
    assert [item["problem"] for item in response.json()["items"]] == [None] * 4


def test_images_are_not_decoded_after_their_deadline(small: ServingProcess) -> None:
    (response,) = concurrently(small, 1, {"X-Request-Timeout-Ms": "1"}, per_request=8)
    codes = [item["problem"] and item["problem"]["code"] for item in response.json()["items"]]
    assert codes.count("deadline-exceeded") >= 4
    (response,) = concurrently(small, 1, {"X-Request-Timeout-Ms": "60000"}, per_request=8)
    assert [item["problem"] for item in response.json()["items"]] == [None] * 8


@pytest.mark.parametrize("value", ["0", "-5", "soon", "3600001", "1.5"])
def test_timeout_out_of_range_is_refused(small: ServingProcess, value: str) -> None:
    (response,) = concurrently(small, 1, {"X-Request-Timeout-Ms": value})
    assert_problem.problem(response, 422, "invalid-request", "x-request-timeout-ms", value)


def test_deadline_raises_once_it_has_passed() -> None:
    Deadline.after(60_000).check()
    with pytest.raises(DeadlineExceeded, match="250 ms"):
        Deadline(time.monotonic() - 1, 250).check()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def worked(admission: Admission, clock: Clock, images: int, seconds: float) -> None:
    """Finish so many images, one every so many seconds, with always one in flight."""
    with admission.reserve():
        for _ in range(images):
            with admission.reserve():
                clock.now += seconds


def test_expected_wait_follows_the_pace_of_recent_images() -> None:
    clock = Clock()
    admission = Admission(limit=1_000, max_wait_s=2.0, clock=clock)
    worked(admission, clock, images=200, seconds=0.1)
    with admission.reserve(num_images=18):
        assert admission.expected_wait_s == pytest.approx(1.8, rel=0.1)
        admission.check()
        admission.check(timeout_s=5.0)
        with pytest.raises(Overloaded, match=r"18 inputs.*1\.[78] s.*limit is 0\.5 s"):
            admission.check(timeout_s=1.0)
        with (
            admission.reserve(num_images=5),
            pytest.raises(Overloaded, match="EVERGREEN_MAX_WAIT_S"),
        ):
            admission.check()
    worked(admission, clock, images=200, seconds=0.01)
    with admission.reserve(num_images=100):
        admission.check()


def test_few_slow_images_are_no_queue() -> None:
    clock = Clock()
    admission = Admission(limit=64, max_wait_s=1.0, clock=clock)
    worked(admission, clock, images=20, seconds=5.0)
    with admission.reserve(num_images=3):
        admission.check()


def test_admission_counts_images_in_flight_until_they_are_released() -> None:
    admission = Admission(limit=3, max_wait_s=60.0)
    with (
        admission.reserve(num_images=2),
        admission.reserve(num_images=5),
        pytest.raises(Overloaded, match="7 inputs"),
    ):
        admission.check()
    with pytest.raises(ValueError, match="lost"), admission.reserve(num_images=3):
        raise ValueError("lost")
    admission.check()


def test_body_that_stops_arriving_is_refused_and_takes_no_place(
    small: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_bodies, "IDLE_S", 0.05)

    async def run() -> httpx.Response:
        async def body() -> AsyncIterator[bytes]:
            yield LARGE[:1000]
            await asyncio.sleep(30)
            yield LARGE[1000:]

        transport = httpx.ASGITransport(app_of(small))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/v1/predict", content=body(), headers=JPEG)

    began = time.monotonic()
    assert_problem.problem(asyncio.run(run()), 408, "slow-body", "send it again")
    assert time.monotonic() - began < 25, "it did not wait for the rest"
    assert concurrently(small, 1, {})[0].status_code == 200


def test_body_that_arrives_too_slowly_is_refused(
    small: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_bodies, "WHOLE_S", 0.2)

    async def run() -> httpx.Response:
        async def body() -> AsyncIterator[bytes]:
            while True:
                yield LARGE[:1]
                await asyncio.sleep(0.01)

        transport = httpx.ASGITransport(app_of(small))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/v1/predict", content=body(), headers=JPEG)

    assert_problem.problem(asyncio.run(run()), 408, "slow-body", "incomplete after 0.2 seconds")
