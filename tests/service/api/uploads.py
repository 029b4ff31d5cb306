"""Upload archives, and follow their imports."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Receive

from service.inference.importer import Importer
from service.inference.serving_process import ServingProcess

ZIP = {"Content-Type": "application/zip"}


def upload(client: TestClient, content: bytes, **query: Any) -> Any:
    return client.post("/v1/imports", content=content, params=query, headers=ZIP)


def followed(client: TestClient, asked: Any) -> list[tuple[str, dict[str, Any]]]:
    """The events of an import up to its end."""
    assert asked.status_code == 202, asked.text
    text = client.get(f"{asked.headers['Location']}/events").text
    found = []
    for block in text.strip().replace("\r", "").split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines())
        if "data" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def imported(client: TestClient, content: bytes, **query: Any) -> dict[str, Any]:
    (*_, (name, done)) = followed(client, upload(client, content, **query))
    assert name == "end"
    return done


@contextlib.contextmanager
def importer_stopped(serving: ServingProcess) -> Iterator[None]:
    """No import is worked on meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Importer, "tick", lambda _: False)
        yield
    serving.importer.wake()


def request_of(messages: list[Message], length: int) -> tuple[dict[str, Any], Receive]:
    """An upload by ASGI, which stalls behind its messages."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/imports",
        "raw_path": b"/v1/imports",
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 3000),
        "client": ("127.0.0.1", 50_000),
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"application/zip"),
            (b"content-length", str(length).encode()),
        ],
    }

    async def receive() -> Message:
        if not messages:
            await asyncio.sleep(3600)
        return messages.pop(0)

    return scope, receive
