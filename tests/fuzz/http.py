"""Fuzz whole requests: bytes like those on the wire go through the app to a serving process.

The bytes are a line `METHOD TARGET`, lines of headers, an empty line and the body. What an HTTP
server refuses before the app is left out.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Scope

from core.settings import Settings
from core.store.store import open_store
from service.api.app import create_app
from service.inference.serving_process import ServingProcess
from tests.fuzz.target import Target
from tests.support import images, tiny

_ANSWERED_WITHIN_S = 20
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE")
_TARGET = re.compile(rb"/[!-~]*")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
# 503 and 504 are what a request may ask for with a deadline of a millisecond.
_REFUSALS_OF_LOAD = (503, 504)
_PHOTO = images.png(12, 8)


@cache
def started() -> tuple[asyncio.AbstractEventLoop, FastAPI]:
    """The loop and the app, with a serving process of a new home."""
    home = Path(tempfile.mkdtemp(prefix="evergreen-fuzz-"))
    settings = Settings(home=home, device="cpu", workers=1, max_pixels=1_000_000, max_body_mb=1)
    store = open_store(settings)
    tiny.publish(store, tiny.make_manifest(store.blobs))
    tiny.activate(store, 1)
    store.db.close()
    app = create_app(settings)
    app.state.serving = ServingProcess.start(settings)
    return asyncio.new_event_loop(), app


def stop() -> None:
    if started.cache_info().currsize:
        loop, app = started()
        app.state.serving.stop()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        started.cache_clear()


def check(request: bytes) -> None:
    head, _, body = request.partition(b"\n\n")
    scope = _scope(head, body)
    if scope is None:
        return
    loop, app = started()
    sent = loop.run_until_complete(asyncio.wait_for(_send(app, scope, body), _ANSWERED_WITHIN_S))
    start, parts = sent[0], sent[1:]
    assert start["type"] == "http.response.start"
    assert {part["type"] for part in parts} == {"http.response.body"}
    assert not parts[-1].get("more_body", False), "the response has no end"
    status, headers = start["status"], dict(start["headers"])
    assert status < 500 or status in _REFUSALS_OF_LOAD, (status, parts)
    content = b"".join(part.get("body", b"") for part in parts)
    if content and b"json" in headers.get(b"content-type", b""):
        answer = json.loads(
            content[: int(headers.get(b"inference-header-content-length", 1 << 30))]
        )
        assert status < 400 or "error" in answer or {"code", "detail"} <= answer.keys(), answer


def _scope(head: bytes, body: bytes) -> Scope | None:
    """None for what an HTTP server refuses itself."""
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    fields = [tuple(part.strip() for part in line.partition(b":")[::2]) for line in lines]
    is_valid = method in _METHODS and _TARGET.fullmatch(target)
    if not is_valid or not all(_NAME.fullmatch(n) and _VALUE.fullmatch(v) for n, v in fields):
        return None
    path, _, query = target.partition(b"?")
    headers = [(n.lower(), v) for n, v in fields if n.lower() not in _OF_THE_SERVER]
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 3000),
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "method": method.decode(),
        "path": unquote(path.decode()),
        "raw_path": path,
        "query_string": query,
        "headers": [*headers, (b"content-length", str(len(body)).encode())],
    }


_OF_THE_SERVER = (b"content-length", b"transfer-encoding", b"upgrade")


async def _send(app: ASGIApp, scope: Scope, body: bytes) -> list[Message]:
    received = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if received:
            return received.pop()
        await asyncio.sleep(_ANSWERED_WITHIN_S)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def _form(*parts: tuple[str, bytes]) -> bytes:
    lines = b"".join(
        b"--x\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return b"Content-Type: multipart/form-data; boundary=x\n\n" + lines + b"--x--\r\n"


def _json(**fields: Any) -> bytes:
    return b"Content-Type: application/json\n\n" + json.dumps(fields).encode()


def seeds() -> Iterator[bytes]:
    image = ('name="image"; filename="a.png"', _PHOTO)
    yield b"POST /v1/predict\nContent-Type: image/png\n\n" + _PHOTO
    yield b"POST /v1/predict?top=2&version=1\nX-Request-Timeout-Ms: 5000\n" + _form(image)
    yield b"POST /v1/predict\n" + _form(image, image)
    yield b"POST /v1/feedback\nIdempotency-Key: k\n" + _form(image, ('name="label"', b"cat"))
    yield b"POST /v1/feedback\n" + _form(
        image, ('name="label"', "Käse".encode()), ('name="who"', b"me")
    )
    yield b"POST /v1/feedback\n" + _json(prediction_id="0" * 36, label="cat", who="me")
    yield b"DELETE /v1/feedback/1?who=me\n\n"
    yield b"POST /v1/retrain\n" + _json(tier="head", minutes=1.5)
    yield b'PUT /v1/champion\nIf-Match: W/"1"\n' + _json(version=2, who="me", why="so")
    for path in (b"status", b"champion", b"runs?limit=2", b"versions?limit=2&before=9", b"runs/0"):
        yield b"GET /v1/" + path + b"\n\n"
    for path in (
        b"/v1/versions/1",
        b"/v1/versions/1/model.onnx",
        b"/v1/runs/a/events",
        b"/metrics",
    ):
        yield b"GET " + path + b"\n\n"
    for path in (
        b"",
        b"/health/ready",
        b"/models/evergreen",
        b"/models/evergreen/versions/1/ready",
    ):
        yield b"HEAD /v2" + path + b"\n\n"
    infer = b"POST /v2/models/evergreen/infer\n"
    encoded = base64.b64encode(_PHOTO).decode()
    text = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [encoded]}
    size = tiny.SPEC.size_px
    zeros = {"name": "pixels", "datatype": "UINT8", "shape": [1, size, size, 3]}
    outputs = [{"name": "probabilities", "parameters": {"classification": 2}}, {"name": "label"}]
    yield infer + _json(id="a", inputs=[text], outputs=outputs)
    yield infer + _json(inputs=[zeros | {"data": [0] * (3 * size * size)}])
    binary = {"parameters": {"binary_data_size": 3 * size * size}}
    message = json.dumps(
        {"inputs": [zeros | binary], "parameters": {"binary_data_output": True}}
    ).encode()
    length = f"Inference-Header-Content-Length: {len(message)}\n\n".encode()
    yield infer + length + message + bytes(3 * size * size)


TARGET = Target(check, seeds)
