"""The Open Inference Protocol during swaps, predictions and overload."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from core.models.servable import Servable
from service.inference.serving_process import ServingProcess
from service.swap.swap import Swap
from tests.service.oip.infer_requests import INFER, black, post, refused, tensor
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def test_response_comes_from_one_version_during_a_swap(
    trained_serving: ServingProcess, trained_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = trained_serving.slot.current()
    manifest = replace(newer.manifest, version=3, classes=("a", "b"))
    predict = Servable.predict

    def swapping(self: Servable, pixels_BHWC: Any) -> Any:
        trained_serving.slot.put(Servable(manifest, newer.backbone, newer._head))
        return predict(self, pixels_BHWC)

    monkeypatch.setattr(Servable, "predict", swapping)
    try:
        before, after = (post(trained_client, black(20)).json() for _ in range(2))
    finally:
        trained_serving.slot.put(newer)
    assert (before["model_version"], after["model_version"]) == ("2", "3")
    assert set(before["outputs"][1]["data"]) <= {"red", "blue"}
    assert set(after["outputs"][1]["data"]) <= {"a", "b"}


def test_stale_process_polls_before_it_responds(
    client: TestClient, serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls: list[bool] = []
    monkeypatch.setattr(Swap, "is_stale", property(lambda _: True))
    monkeypatch.setattr(serving.swap, "ensure_fresh", lambda: polls.append(True))
    assert post(client, black()).status_code == 200
    assert client.get("/v2/models/evergreen").status_code == 200
    assert polls == [True, True]


@pytest.mark.slow
def test_predictions_run_between_the_images_of_batches(
    client: TestClient, serving: ServingProcess
) -> None:
    """Batches on all threads delay other requests by one image, not by a batch."""
    slow = base64.b64encode(images.encode(Image.new("RGB", (3000, 3000)), "PNG")).decode()
    ended: list[str] = []

    def ask(what: str, tensor: dict[str, Any]) -> None:
        assert post(client, tensor).status_code == 200
        ended.append(what)

    batch = tensor(shape=[6], data=[slow] * 6)
    num_threads = serving.settings.onnx_threads + 1
    threads = [threading.Thread(target=ask, args=("batch", batch)) for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    ask("small", black())
    for thread in threads:
        thread.join()
    assert ended == ["small", *["batch"] * num_threads]


def test_images_of_a_batch_count_as_in_flight(client: TestClient, serving: ServingProcess) -> None:
    limit = serving.settings.max_in_flight
    with serving.admission.reserve(num_images=limit):
        response = client.post(INFER, json={"inputs": [tensor()]})
        refused(response, 503, f"the limit is {limit}")
        assert response.headers["retry-after"] == "1"
    assert client.post(INFER, json={"inputs": [tensor()]}).status_code == 200


def test_images_past_their_deadline_are_not_decoded(client: TestClient) -> None:
    large = images.encode(images.scene(2400, 1800, seed=1), "JPEG")
    content = {"inputs": [tensor(large, shape=[8], data=tensor(large)["data"] * 8)]}
    response = client.post(INFER, json=content, headers={"X-Request-Timeout-Ms": "1"})
    refused(response, 504, "1 ms", "X-Request-Timeout-Ms")
