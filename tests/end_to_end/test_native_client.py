"""BentoML's own client against a real `bentoml serve`: the endpoint `predict`."""

from __future__ import annotations

import http.client
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

with warnings.catch_warnings():
    # BentoML imports deprecated modules.
    warnings.simplefilter("ignore")
    from bentoml import SyncHTTPClient
    from bentoml.exceptions import BentoMLException

from tests.support import images
from tests.support.server import Server

pytestmark = pytest.mark.end_to_end

NUM_WORKERS = 1
MAX_BODY_BYTES = 200_000
SETTINGS = {"EVERGREEN_MAX_BODY_MB": str(MAX_BODY_BYTES / 1e6)}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with SyncHTTPClient(server.url) as opened:
        yield opened
    opened._temp_dir.cleanup()  # or the garbage collector does it, with a warning


def test_bytes_are_predicted_as_over_http(client: Any, server: Server) -> None:
    image = images.jpeg()
    answer = client.predict(image)
    over_http = httpx.post(
        f"{server.url}/v1/predict", content=image, headers={"Content-Type": "image/jpeg"}
    ).json()
    assert answer.pop("prediction_id") != over_http.pop("prediction_id")
    assert answer == over_http


def test_file_is_predicted_by_its_bytes(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(images.png())
    assert client.predict(path.read_bytes())["version"] == 1


def test_prediction_can_be_corrected(client: Any, server: Server) -> None:
    prediction_id = client.predict(images.jpeg(seed=1))["prediction_id"]
    body = {"prediction_id": prediction_id, "label": "cat"}
    assert httpx.post(f"{server.url}/v1/feedback", json=body).status_code == 201


@pytest.mark.parametrize(
    ("image", "status", "parts"),
    [
        pytest.param(b"nope", 422, ("not a readable image", "4 bytes", "send JPEG"), id="text"),
        pytest.param(
            images.truncated(images.jpeg()), 422, ("truncated", "send JPEG"), id="truncated"
        ),
        pytest.param(
            images.twenty_thousand_square(), 422, ("400,000,000", "50,000,000"), id="too-large"
        ),
        pytest.param(
            bytes(MAX_BODY_BYTES + 1), 413, ("200,001", "200,000", "smaller input"), id="over-limit"
        ),
    ],
)
def test_bad_image_is_a_clear_error(
    client: Any, image: bytes, status: int, parts: tuple[str, ...]
) -> None:
    with pytest.raises(BentoMLException) as caught:
        client.predict(image)
    assert caught.value.error_code == status
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("path", ["/predict", "/v1/predict", "/v1/feedback"])
def test_body_that_grows_over_the_limit_is_refused_and_its_connection_stays_open(
    server: Server, path: str
) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(50_000)

    content_type = "application/json" if path == "/v1/feedback" else "image/jpeg"
    with httpx.Client(base_url=server.url) as kept:
        for _ in range(3):
            response = kept.post(path, content=body(), headers={"Content-Type": content_type})
            assert (response.status_code, response.json()["code"]) == (413, "body-too-large")
            assert kept.get("/v1/status").status_code == 200


def test_body_announced_over_the_limit_is_refused_while_the_client_still_sends(
    server: Server,
) -> None:
    # urllib3 and http.client send the whole body first. A reset would hide the response.
    for path in ("/predict", "/v1/predict"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", path, bytes(5_000_000), {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        assert response.status == 413
        assert b"5,000,000" in response.read()
        connection.close()


def test_bad_images_leave_no_tracebacks_in_the_log(client: Any, server: Server) -> None:
    before = server.log()
    for _ in range(3):
        with pytest.raises(BentoMLException):
            client.predict(b"nope")
    assert server.log() == before
