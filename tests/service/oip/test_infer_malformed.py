"""The Open Inference Protocol in plain JSON, and requests that Triton's client would not send."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from core import predictions
from service import metrics
from service.api.app import create_app
from service.inference.serving_process import ServingProcess
from service.oip import messages
from tests.service.conftest import client_of, local_client
from tests.service.oip.infer_requests import (
    INFER,
    PHOTOS,
    SIZE,
    TOLERANCE,
    black,
    post,
    refused,
    tensor,
)
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def test_json_alone_is_enough(client: TestClient) -> None:
    response = post(client, tensor(), id="x")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert messages.HEADER_LENGTH not in response.headers
    body = response.json()
    assert (body["model_version"], body["id"]) == ("1", "x")
    probabilities, label, confidence, _ = body["outputs"]
    assert (probabilities["shape"], probabilities["datatype"]) == ([1, 200], "FP32")
    assert sum(probabilities["data"]) == pytest.approx(1, abs=1e-4)
    assert confidence["data"] == [max(probabilities["data"])]
    predicted = client.post(
        "/v1/predict", content=PHOTOS[0], headers={"Content-Type": "image/jpeg"}
    ).json()
    assert label["data"] == [predicted["label"]]
    assert confidence["data"][0] == pytest.approx(predicted["confidence"], abs=TOLERANCE)


def test_nested_pixels_equal_flat_ones(client: TestClient) -> None:
    nested = np.zeros((1, SIZE, SIZE, 3), int).tolist()
    assert post(client, black(data=nested)).json() == post(client, black()).json()


def test_predictions_are_counted_but_not_recorded(
    client: TestClient, serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a prediction was recorded")

    monkeypatch.setattr(predictions, "add", never)
    monkeypatch.setattr(type(serving.store.blobs), "put", never)
    before = metrics.predictions._value.get()
    assert post(client, black(3)).status_code == 200
    assert metrics.predictions._value.get() == before + 3
    assert f'route="{INFER.replace("evergreen", "{model}")}"' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("inputs", "parts"),
    [
        ([], ("0 inputs", "send one", "`pixels` UINT8 [B, 144, 144, 3]", "`image` BYTES [B]")),
        ([tensor(), black()], ("2 inputs", "send one")),
        ([tensor(name="picture")], ("no input 'picture'", "`image` BYTES")),
        ([tensor(datatype="UINT8")], ("'UINT8'", "send BYTES")),
        ([tensor(shape=[])], ("shape []", "[B]")),
        ([tensor(shape=[1, 2])], ("shape [1, 2]", "[B]")),
        ([tensor(shape=[1] * 10_000)], ("shape [1, 1,", "[B]")),
        ([tensor(shape=[0], data=[])], ("0 inputs", "1 to 64")),
        ([tensor(shape=[65])], ("65 inputs", "1 to 64")),
        ([tensor(shape=[2])], ("1 elements", "[2] takes 2")),
        ([tensor(data=["no base64!"])], ("element 0", "base64")),
        ([tensor(data=["é"])], ("element 0", "base64")),
        ([tensor(data=[5])], ("element 0", "send strings")),
        ([tensor(b"")], ("element 0", "it is empty", "send JPEG")),
        ([tensor(images.bomb_png())], ("element 0", "50,000,000", "smaller copy")),
        ([black(side=95)], ("shape [1, 95, 95, 3]", "[B, 144, 144, 3]", "version 1")),
        ([black(shape=[SIZE, SIZE, 3])], ("shape [144, 144, 3]", "[B, 144, 144, 3]")),
        ([black(data=[0])], ("62,208 whole numbers from 0 to 255",)),
        ([black(data=[256] * SIZE * SIZE * 3)], ("0 to 255",)),
        ([black(65, 1, shape=[65, SIZE, SIZE, 3])], ("65 inputs", "1 to 64")),
        ([black(name="\ud800")], ("not JSON", "hex escape")),
    ],
)
def test_inputs_that_the_model_does_not_take_are_refused(
    client: TestClient, inputs: list[dict[str, Any]], parts: tuple[str, ...]
) -> None:
    content = json.dumps({"inputs": inputs})
    refused(client.post(INFER, content=content), 400, *parts)


@pytest.mark.parametrize(
    ("outputs", "parts"),
    [
        ([{"name": "logits"}], ("no output 'logits'", "probabilities, label, confidence")),
        ([{"name": "label"}, {"name": "label"}], ("named twice", "at most once")),
        (
            [{"name": "label", "parameters": {"classification": 2}}],
            ("'label' cannot be a classification", "'probabilities'"),
        ),
    ],
)
def test_outputs_that_the_model_does_not_give_are_refused(
    client: TestClient, outputs: list[dict[str, Any]], parts: tuple[str, ...]
) -> None:
    refused(post(client, tensor(), outputs=outputs), 400, *parts)


def test_binary_pixels_of_another_length_are_refused(client: TestClient) -> None:
    head = json.dumps({"inputs": [black(parameters={"binary_data_size": 5}, data=None)]}).encode()
    headers = {messages.HEADER_LENGTH: str(len(head))}
    response = client.post(INFER, content=head + b"12345", headers=headers)
    refused(response, 400, "5 bytes of binary data", "62,208")


@pytest.mark.parametrize(
    ("method", "path", "status", "parts"),
    [
        ("GET", "/v2/nope", 404, ("nothing at /v2/nope",)),
        ("GET", "/v2/models", 404, ("nothing at /v2/models",)),
        ("GET", "/v2/models/resnet", 404, ("no model 'resnet'", "'evergreen'")),
        ("GET", "/v2/models/resnet/ready", 404, ("no model 'resnet'", "'evergreen'")),
        ("POST", "/v2/models/resnet/infer", 404, ("no model 'resnet'", "'evergreen'")),
        ("GET", "/v2/models/evergreen/versions/7", 404, ("version '7'", "loaded: 1")),
        ("GET", "/v2/models/evergreen/versions/7/ready", 404, ("version '7'", "loaded: 1")),
        ("GET", INFER, 405, ("use POST",)),
        ("POST", "/v2/health/live", 405, ("use GET",)),
    ],
)
def test_errors_below_v2_have_the_form_of_the_protocol(
    client: TestClient, method: str, path: str, status: int, parts: tuple[str, ...]
) -> None:
    body = {"inputs": [tensor()]} if method == "POST" else None
    refused(client.request(method, path, json=body), status, *parts)


def test_version_in_the_query_is_refused(client: TestClient) -> None:
    refused(client.get("/v2/models/evergreen?version=7"), 400, "'version'", "takes none")


def test_content_encodings_that_cannot_be_read_are_refused(client: TestClient) -> None:
    plain = json.dumps({"inputs": [tensor()]}).encode()
    for encoding, status, part in (("br", 415, "send gzip, deflate"), ("gzip", 400, "not gzip")):
        response = client.post(INFER, content=plain, headers={"Content-Encoding": encoding})
        refused(response, status, part)


def test_bodies_over_the_limit_are_refused_compressed_or_not(client: TestClient) -> None:
    limit = 25_000_000
    refused(client.post(INFER, content=bytes(limit + 1)), 413, "25,000,001", "25,000,000")
    bomb = zlib.compress(bytes(limit + 1), wbits=31)
    response = client.post(INFER, content=bomb, headers={"Content-Encoding": "gzip"})
    refused(response, 413, "25,000,000", "decompressed")

    def growing() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(1_000_000)

    refused(client.post(INFER, content=growing()), 413, "more than 25,000,000")


def test_unexpected_exception_has_the_form_of_the_protocol(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr("service.oip.infer._count", broken)
    response = post(client, black())
    refused(response, 500, "its log says what")
    assert "secret" not in response.text


def test_server_is_live_but_not_ready_before_the_first_version(serving: ServingProcess) -> None:
    with local_client(create_app(serving.settings)) as starting:
        assert starting.get("/v2/health/live").json() == {"live": True}
        for path in (
            "/v2",
            "/v2/health/ready",
            "/v2/models/evergreen",
            "/v2/models/evergreen/ready",
        ):
            response = starting.get(path)
            refused(response, 503, "try again in a second")
            assert response.headers["retry-after"] == "1"
    with client_of(serving) as started:
        assert started.get("/v2/health/ready").json() == {"ready": True}
        ready = started.get("/v2/models/evergreen/versions/1/ready")
        assert ready.json() == {"name": "evergreen", "ready": True}
