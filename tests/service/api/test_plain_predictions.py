"""The plainest predictions skip the framework: they get the same responses, and are counted too."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.request_middleware import RequestMiddleware
from service.inference.serving_process import ServingProcess
from tests.service.conftest import client_of
from tests.service.test_metrics import scrape, value
from tests.support import images

PATH = "/v1/predict"
JPEG = {"Content-Type": "image/jpeg"}
# Each makes the framework handle the request.
NOT_PLAIN: list[dict[str, Any]] = [
    {"params": {"top": 5}},
    {"headers": {"X-Request-Timeout-Ms": "60000"}},
]


@pytest.fixture
def num_plain(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each prediction that skipped the framework."""
    skipped: list[bool] = []
    predict = RequestMiddleware._predict

    async def noted(middleware: RequestMiddleware, *args: Any) -> None:
        skipped.append(True)
        await predict(middleware, *args)

    monkeypatch.setattr(RequestMiddleware, "_predict", noted)
    return skipped


def send(client: TestClient, image: bytes, **options: Any) -> Any:
    headers = JPEG | options.pop("headers", {})
    return client.post(PATH, content=image, headers=headers, **options)


@pytest.mark.parametrize("options", NOT_PLAIN)
def test_plain_prediction_is_that_of_the_framework(
    client: TestClient, num_plain: list[bool], options: dict[str, Any]
) -> None:
    photo = images.jpeg()
    plain, other = send(client, photo), send(client, photo, **options)
    assert len(num_plain) == 1
    assert plain.status_code == other.status_code == 200
    assert plain.headers.keys() == other.headers.keys()
    assert plain.json() | {"prediction_id": ""} == other.json() | {"prediction_id": ""}


@pytest.mark.parametrize("options", NOT_PLAIN)
def test_bad_plain_image_gets_the_problem_of_the_framework(
    client: TestClient, num_plain: list[bool], options: dict[str, Any]
) -> None:
    plain, other = send(client, b"no image"), send(client, b"no image", **options)
    assert len(num_plain) == 1
    assert plain.status_code == other.status_code == 422
    assert plain.headers["content-type"] == other.headers["content-type"]
    assert plain.json() == other.json()


def test_plain_prediction_is_counted_under_its_route(client: TestClient) -> None:
    def count() -> float:
        labels = {"route": PATH, "method": "POST", "status": "200"}
        return value(scrape(client), "evergreen_requests_total", **labels)

    send(client, images.jpeg())
    before = count()
    send(client, images.jpeg())
    assert count() == before + 1


def test_crash_of_a_plain_prediction_is_an_internal_error(
    serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(serving.predictor, "predict", crash)
    with client_of(serving) as client:
        response = send(client, images.jpeg())
    assert response.status_code == 500
    assert response.json()["code"] == "internal-error"
    assert serving.admission.in_flight == 0
