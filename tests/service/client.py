"""Images that are sent, predicted and labelled over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
from starlette.testclient import TestClient

from tests.support import images

JPEG = {"Content-Type": "image/jpeg"}
JSON = {"Content-Type": "application/json"}
_seed = iter(range(10_000, 20_000))


def new_image() -> bytes:
    return images.png(48, 48, seed=next(_seed))


def predict(client: TestClient, image: bytes | None = None) -> str:
    response = client.post("/v1/predict", content=image or new_image(), headers=JPEG)
    prediction_id: str = response.json()["prediction_id"]
    return prediction_id


def label_image(client: TestClient, image: bytes, label: str, **options: Any) -> httpx.Response:
    data = {"label": label, **options.pop("fields", {})}
    return client.post("/v1/feedback", files={"image": ("a", image)}, data=data, **options)


def label_prediction(client: TestClient, prediction_id: str, label: str, **options: Any) -> Any:
    body = {"prediction_id": prediction_id, "label": label, **options.pop("fields", {})}
    return client.post("/v1/feedback", json=body, **options)
