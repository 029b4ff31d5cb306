"""Requests of the Open Inference Protocol as JSON, and a check of refusals."""

from __future__ import annotations

import base64
from typing import Any

import httpx
from starlette.testclient import TestClient

from tests.support import images

PHOTOS = [images.jpeg(seed=1), images.png(seed=2), images.jpeg(640, 480, seed=3)]
SIZE = 144
# Batches of another size sum in another order.
TOLERANCE = 1e-5
INFER = "/v2/models/evergreen/infer"


def tensor(photo: bytes = PHOTOS[0], **fields: Any) -> dict[str, Any]:
    data = [base64.b64encode(photo).decode()]
    return {"name": "image", "datatype": "BYTES", "shape": [1], "data": data, **fields}


def black(num: int = 1, side: int = SIZE, **fields: Any) -> dict[str, Any]:
    shape = [num, side, side, 3]
    zeros = [0] * (num * side * side * 3)
    return {"name": "pixels", "datatype": "UINT8", "shape": shape, "data": zeros, **fields}


def post(client: TestClient, *inputs: dict[str, Any], **fields: Any) -> httpx.Response:
    response: httpx.Response = client.post(INFER, json={"inputs": list(inputs), **fields})
    return response


def refused(response: httpx.Response, status: int, *parts: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"}
    for part in parts:
        assert part in body["error"]
