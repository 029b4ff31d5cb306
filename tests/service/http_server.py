"""The app on a port of its own, for tests of what only a real connection shows."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import uvicorn

from service.inference.serving_process import ServingProcess
from tests.service.conftest import app_of
from tests.support.wait import wait_until


@contextlib.contextmanager
def listening(serving: ServingProcess) -> Iterator[int]:
    """Serve in a thread, with the server that BentoML starts. Yields the port."""
    config = uvicorn.Config(app_of(serving), port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, 10, "the server to start")
        port: int = server.servers[0].sockets[0].getsockname()[1]
        yield port
    finally:
        server.should_exit = True
        thread.join()
