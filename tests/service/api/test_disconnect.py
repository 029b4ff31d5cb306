"""Clients that go away while their images wait, at the ASGI that a server speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from service.inference.serving_process import ServingProcess
from tests.service.blocking_servable import BlockingServable
from tests.service.conftest import app_of, settings_in
from tests.service.trained_home import start_with_the_starter
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`

_WITHIN_S = 30.0


@pytest.fixture
def batched(tmp_path: Path) -> Iterator[ServingProcess]:
    settings = settings_in(tmp_path / "home").model_copy(update={"batching": "on"})
    started = start_with_the_starter(settings)
    yield started
    started.stop()


class Client:
    """Sends a request, and goes away when it is told to."""

    def __init__(self, serving: ServingProcess, path: str, body: bytes, content_type: str) -> None:
        self._app = app_of(serving)
        self._messages: list[dict[str, Any]] = [{"type": "http.request", "body": body}]
        length = str(len(body)).encode()
        headers = [(b"content-type", content_type.encode()), (b"content-length", length)]
        self._scope = {
            **{"type": "http", "method": "POST", "path": path, "raw_path": path.encode()},
            **{"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"},
            "client": ("127.0.0.1", 1),
        }
        self.leaves = asyncio.Event()
        self.status: int | None = None

    async def ask(self) -> int | None:
        await self._app(self._scope, self._receive, self._send)
        return self.status

    async def _receive(self) -> Any:
        if self._messages:
            return self._messages.pop(0)
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)


def form(num: int) -> tuple[bytes, str]:
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n'
        % images.jpeg(seed=seed)
        for seed in range(num)
    )
    return parts + b"--x--\r\n", "multipart/form-data; boundary=x"


def num_run() -> float:
    return REGISTRY.get_sample_value("evergreen_batch_size_sum") or 0.0


@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize("leaves", [True, False])
def test_images_of_a_disconnected_client_are_not_run(
    batched: ServingProcess, num: int, leaves: bool
) -> None:
    batcher = batched.predictor.batcher
    assert batcher is not None
    held = BlockingServable(batched.slot.current())
    held.may_go.clear()
    size = held.manifest.input_spec.size_px

    async def run() -> int | None:
        before = num_run()
        blocks = asyncio.create_task(batcher.predict(held, np.zeros((1, size, size, 3), np.uint8)))
        assert await asyncio.to_thread(held.is_running.wait, _WITHIN_S)
        client = Client(batched, "/v1/predict", *form(num))
        asked = asyncio.create_task(client.ask())
        async with asyncio.timeout(_WITHIN_S):
            while len(batcher._queue) < num:
                await asyncio.sleep(0.001)
        if leaves:
            client.leaves.set()
            async with asyncio.timeout(_WITHIN_S):
                await asked  # while the batch before it still runs
        held.may_go.set()
        await blocks
        status = await asked
        assert num_run() - before == 1 + (0 if leaves else num)
        return status

    assert asyncio.run(run()) == (None if leaves else 200)
    batched.admission.check()


def test_connected_client_gets_the_error(batched: ServingProcess) -> None:
    async def run() -> int | None:
        return await Client(batched, "/v1/predict", b"no image", "image/jpeg").ask()

    assert asyncio.run(run()) == 422
