"""The Open Inference Protocol: Triton's client against a real `bentoml serve`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

with warnings.catch_warnings():
    # Some of its imports are deprecated.
    warnings.simplefilter("ignore")
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

from tests.support import images
from tests.support.server import Server

pytestmark = pytest.mark.end_to_end

NUM_WORKERS = 1
MAX_BODY_BYTES = 200_000
SETTINGS = {"EVERGREEN_MAX_BODY_MB": str(MAX_BODY_BYTES / 1e6)}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as opened:
        yield opened


def sent(*photos: bytes) -> list[Any]:
    tensor = triton.InferInput("image", [len(photos)], "BYTES")
    tensor.set_data_from_numpy(np.array(photos, np.object_))
    return [tensor]


def test_live_model_is_ready_and_predicts_as_over_v1(client: Any, server: Server) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("evergreen")
    assert client.get_model_metadata("evergreen")["versions"] == ["1"]
    photos = [images.jpeg(seed=seed) for seed in range(3)]
    answer = client.infer("evergreen", sent(*photos))
    for photo, label in zip(photos, answer.as_numpy("label"), strict=True):
        over_v1 = httpx.post(
            f"{server.url}/v1/predict", content=photo, headers={"Content-Type": "image/jpeg"}
        )
        assert label.decode() == over_v1.json()["label"]


def test_invalid_requests_get_clear_errors_and_keep_the_connection(
    client: Any, server: Server
) -> None:
    before = server.log()
    for photo, status, part in (
        (b"nope", "400", "element 0 .* not a readable image"),
        (bytes(MAX_BODY_BYTES), "413", "200,000"),
    ):
        with pytest.raises(InferenceServerException, match=part) as caught:
            client.infer("evergreen", sent(photo))
        assert caught.value.status() == status
    assert client.is_server_ready()
    assert server.log() == before
