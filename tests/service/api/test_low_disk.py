"""With little free disk predictions go on without their images, and no label is lost silently."""

from __future__ import annotations

import errno
import re

import pytest
from starlette.testclient import TestClient

from core.store import blobs
from core.store.blobs import sha256
from service.inference.serving_process import ServingProcess
from tests.service import assert_problem
from tests.service.client import label_image, label_prediction, new_image, predict


def num_low_disk(client: TestClient) -> float:
    """Of this process, whose other tests count too."""
    series = r'^evergreen_images_not_kept_total\{reason="low disk"\} (.+)$'
    found = re.search(series, client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_prediction_goes_on_without_keeping_its_image(
    client: TestClient, serving: ServingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/v1/status").json()["disk"]["keeps_images"]
    before = num_low_disk(client)
    monkeypatch.setattr(serving.store.disk, "min_bytes", 10**18)
    monkeypatch.setattr(serving.store.disk, "_check_at", 0.0)
    image = new_image()
    prediction_id = predict(client, image)
    assert not serving.store.blobs.has(sha256(image))
    status = client.get("/v1/status").json()["disk"]
    assert (status["keeps_images"], status["min_free_bytes"]) == (False, 10**18)
    assert num_low_disk(client) == before + 1
    assert "evergreen_disk_free_bytes" in client.get("/metrics").text
    refused = label_prediction(client, prediction_id, "cat")
    assert_problem.problem(refused, 409, "image-not-kept", "less disk was free", "send the")
    assert label_image(client, image, "cat").status_code == 201


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_label_whose_image_does_not_fit_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, "no space")

    monkeypatch.setattr(blobs, "write_whole", full)
    response = label_image(client, new_image(), "cat")
    assert_problem.problem(response, 507, "disk-full", "nothing was stored", "free some of it")
