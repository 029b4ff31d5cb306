from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from core import predictions
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.conftest import app_of, settings_in
from tests.service.trained_home import start_with_the_starter
from tests.support import images

JPEG = {"Content-Type": "image/jpeg"}


def post(client: TestClient, *sent: bytes, **options: Any) -> Any:
    files = [("image", (f"{n}.jpg", image)) for n, image in enumerate(sent)]
    response = client.post("/v1/predict", files=files, **options)
    assert response.status_code == 200, response.text
    return response.json()


def without_id(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "prediction_id"}


def test_several_images_are_predicted_in_order_as_each_would_be_alone(client: TestClient) -> None:
    sent = [images.jpeg(seed=seed) for seed in range(5)]
    alone = [without_id(post(client, image)) for image in sent]
    together = post(client, *sent)["items"]
    assert [without_id(item["prediction"]) for item in together] == alone
    assert all(item["problem"] is None for item in together)
    assert len({answer["label"] for answer in alone}) > 1, "or order would not show"


def test_one_bad_image_does_not_fail_the_others(client: TestClient) -> None:
    items = post(client, images.jpeg(), b"no image", images.bomb_png(), images.png())["items"]
    assert [item["prediction"] is not None for item in items] == [True, False, False, True]
    codes = [item["problem"] and item["problem"]["code"] for item in items]
    assert codes == [None, "undecodable-image", "image-too-large", None]
    assert items[1]["problem"]["status"] == 422
    assert "8 bytes" in items[1]["problem"]["detail"]


def test_each_prediction_is_recorded_and_can_be_corrected(
    client: TestClient, serving: ServingProcess
) -> None:
    items = post(client, *(images.jpeg(seed=seed) for seed in (21, 22)))["items"]
    ids = [item["prediction"]["prediction_id"] for item in items]
    assert len(set(ids)) == 2
    with serving.store.db.read() as conn:
        assert all(predictions.get(conn, found) for found in ids)
    corrected = client.post("/v1/feedback", json={"prediction_id": ids[1], "label": "cup"})
    assert corrected.status_code == 201


def test_top_holds_for_every_item(client: TestClient) -> None:
    items = post(client, images.jpeg(), images.png(), params={"top": 2})["items"]
    assert [len(item["prediction"]["top"]) for item in items] == [2, 2]


def test_other_requests_come_between_the_images_of_a_large_one(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    serving = start_with_the_starter(settings.model_copy(update={"max_wait_s": 600.0}))
    one, files = images.jpeg(), [("image", ("a.jpg", images.jpeg(seed=1)))] * 64

    async def run() -> None:
        transport = httpx.ASGITransport(app_of(serving))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            large = asyncio.create_task(client.post("/v1/predict", files=files))
            while serving.admission.in_flight < 2:  # its images have begun
                await asyncio.sleep(0)
            most = 0
            while not large.done():
                most = max(most, serving.admission.in_flight)
                response = await client.post("/v1/predict", content=one, headers=JPEG)
                assert response.status_code == 200, response.text
                answers_before.append(not large.done())
            assert most <= 2 * serving.predictor.max_parallel
            assert all(item["prediction"] for item in (await large).json()["items"])

    answers_before: list[bool] = []
    try:
        asyncio.run(run())
    finally:
        serving.stop()
    assert sum(answers_before) >= 3
    assert serving.admission.in_flight == 0


def test_too_many_images_are_refused(client: TestClient) -> None:
    files = [("image", (f"{n}.jpg", b"x")) for n in range(65)]
    response = client.post("/v1/predict", files=files)
    assert_problem.problem(response, 422, "invalid-request", "Maximum number of files is 64")


def test_feedback_takes_one_image(client: TestClient) -> None:
    file = ("image", ("a.jpg", images.jpeg()))
    response = client.post("/v1/feedback", files=[file, file], data={"label": "cup"})
    assert_problem.problem(response, 422, "invalid-request", "Maximum number of files is 1")


@pytest.mark.parametrize("name", ["photo", "images"])
def test_file_in_another_field_is_refused(client: TestClient, name: str) -> None:
    files = [("image", ("a.jpg", images.jpeg())), (name, ("b.jpg", images.jpeg()))]
    response = client.post("/v1/predict", files=files)
    assert_problem.problem(response, 422, "invalid-request", repr(name), "name the field `image`")
