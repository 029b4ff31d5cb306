"""A serving process with batching on answers as one without, through every way in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from core.inputs.pixels import decoding as pixels
from core.predict import PredictionResult
from core.settings import Settings
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.conftest import client_of
from tests.service.test_metrics import added, scrape
from tests.service.trained_home import FAMILIAR, UNFAMILIAR, start_with_the_starter, tinted
from tests.support import images
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow  # not in `make check`

JPEG = {"Content-Type": "image/jpeg"}
# A batch may be added up in another order than one image.
ATOL = 1e-4
PHOTOS = [images.jpeg(seed=seed) for seed in range(4)] + [tinted("red", 1), tinted("blue", 2)]


@pytest.fixture(scope="module")
def batched(
    copy_trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServingProcess]:
    """Versions 1 and 2 are loaded, and 2 is champion."""
    settings = copy_trained_home(tmp_path_factory.mktemp("batched") / "home")
    started = start_with_the_starter(settings.model_copy(update={"batching": "on", "max_batch": 4}))
    wait_until(lambda: 1 in started.swap.loaded)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def batched_client(batched: ServingProcess) -> Iterator[TestClient]:
    with client_of(batched) as opened:
        yield opened


def alone(serving: ServingProcess, version: int, image: bytes) -> dict[str, float]:
    """What a version says of an image by itself."""
    servable = serving.swap.loaded.get_pinned(version)
    pixels_HWC = pixels.decode(image, servable.manifest.input_spec, serving.limits)
    (probabilities_K,) = servable.predict(pixels_HWC[np.newaxis]).probabilities_BK
    return dict(zip(servable.manifest.classes, probabilities_K.tolist(), strict=True))


def assert_says(answer: PredictionResult, expected: dict[str, float]) -> None:
    found = dict(answer.best(len(answer.classes)))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(
        [found[name] for name in expected], list(expected.values()), rtol=0, atol=ATOL
    )


def test_prediction_is_of_its_own_version_while_versions_change(
    batched: ServingProcess,
) -> None:
    expected = {(v, i): alone(batched, v, PHOTOS[i]) for v in (1, 2) for i in range(len(PHOTOS))}
    loaded = [batched.swap.loaded.get_pinned(version) for version in (1, 2)]

    async def ask(number: int) -> tuple[int, int | None, PredictionResult]:
        # Pins of either, and whichever is champion; the champion changes in between.
        pinned = (None, 1, 2, None)[number % 4]
        batched.slot.put(loaded[number % 2])
        servable = await batched.predictor.servable(pinned)
        photo = number % len(PHOTOS)
        return photo, pinned, await batched.predictor.predict(servable, PHOTOS[photo])

    async def run() -> list[tuple[int, int | None, PredictionResult]]:
        return await asyncio.gather(*(ask(number) for number in range(60)))

    try:
        found = asyncio.run(run())
    finally:
        batched.slot.put(loaded[1])
    assert {answer.prediction.version for _, _, answer in found} == {1, 2}
    for photo, pinned, answer in found:
        assert pinned in (None, answer.prediction.version)
        assert_says(answer, expected[answer.prediction.version, photo])


def test_several_images_are_predicted_in_order_and_a_bad_one_fails_alone(
    batched: ServingProcess, batched_client: TestClient
) -> None:
    sent = [*PHOTOS, b"no image", *reversed(PHOTOS)]
    files = [("image", (f"{n}.jpg", image)) for n, image in enumerate(sent)]
    items = batched_client.post("/v1/predict", files=files).json()["items"]
    assert [n for n, item in enumerate(items) if item["problem"]] == [len(PHOTOS)]
    for image, item in zip(sent, items, strict=True):
        if item["prediction"]:
            said = alone(batched, 2, image)
            for candidate in item["prediction"]["top"]:
                assert candidate["confidence"] == pytest.approx(said[candidate["label"]], abs=ATOL)


def test_infer_is_batched_too(batched: ServingProcess, batched_client: TestClient) -> None:
    manifest = batched.slot.current().manifest
    pixels_BHWC = np.stack([pixels.decode(image, manifest.input_spec) for image in PHOTOS * 2])
    sent = {"name": "pixels", "shape": pixels_BHWC.shape, "datatype": "UINT8"}
    before = scrape(batched_client)
    answer = batched_client.post(
        "/v2/models/evergreen/infer",
        json={"inputs": [{**sent, "data": pixels_BHWC.ravel().tolist()}]},
    ).json()
    found = {output["name"]: output for output in answer["outputs"]}["probabilities"]
    expected_BK = [list(alone(batched, 2, image).values()) for image in PHOTOS * 2]
    found_BK = np.reshape(found["data"], found["shape"])
    np.testing.assert_allclose(found_BK, expected_BK, rtol=0, atol=ATOL)
    assert added(before, scrape(batched_client), "evergreen_batch_size_sum") == 12


def test_unfamiliar_images_of_a_batch_are_flagged(batched_client: TestClient) -> None:
    sent = [UNFAMILIAR, FAMILIAR, FAMILIAR, UNFAMILIAR, FAMILIAR]
    files = [("image", (f"{n}.png", image)) for n, image in enumerate(sent)]
    items = batched_client.post("/v1/predict", files=files).json()["items"]
    flags = [item["prediction"]["unfamiliar"] for item in items]
    assert flags == [image is UNFAMILIAR for image in sent]


def test_batch_sizes_are_counted(batched_client: TestClient) -> None:
    before = scrape(batched_client)
    batched_client.post("/v1/predict", content=PHOTOS[0], headers=JPEG)
    after = scrape(batched_client)
    assert added(before, after, "evergreen_batch_size_count") == 1
    assert added(before, after, "evergreen_batch_size_bucket", le="1.0") == 1
    assert len([name for name, _ in after if name == "evergreen_batch_size_bucket"]) == 9


def test_deadline_that_has_passed_drops_the_image(batched_client: TestClient) -> None:
    large = images.encode(images.scene(2400, 1800, seed=1), "JPEG")
    files = [("image", (f"{n}.jpg", large)) for n in range(8)]
    response = batched_client.post(
        "/v1/predict", files=files, headers={"X-Request-Timeout-Ms": "1"}
    )
    codes = [item["problem"] and item["problem"]["code"] for item in response.json()["items"]]
    assert codes.count("deadline-exceeded") >= 4


def test_undecodable_image_is_refused_before_it_is_queued(batched_client: TestClient) -> None:
    before = scrape(batched_client)
    response = batched_client.post("/v1/predict", content=b"no image", headers=JPEG)
    assert_problem.problem(response, 422, "undecodable-image", "8 bytes")
    assert added(before, scrape(batched_client), "evergreen_batch_size_count") == 0


def test_batched_prediction_can_be_corrected(
    batched: ServingProcess, batched_client: TestClient
) -> None:
    answer = batched_client.post("/v1/predict", content=PHOTOS[4], headers=JPEG).json()
    correction = {"prediction_id": answer["prediction_id"], "label": "blue"}
    assert batched_client.post("/v1/feedback", json=correction).status_code == 201


def test_status_says_whether_batching_is_on(batched_client: TestClient, client: TestClient) -> None:
    assert batched_client.get("/v1/status").json()["max_batch"] == 4
    assert client.get("/v1/status").json()["max_batch"] is None, "auto, and there is no GPU"
