"""SIGTERM: the server is unready first, then finishes its requests, and ends in time."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.processes import tree
from tests.support.server import Server, running
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end

_IMAGE = images.png(64, 48)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = {"EVERGREEN_DRAIN_S": "3", "EVERGREEN_STOP_WITHIN_S": "4"}
    with running(tmp_path / "home", workers=1, EVERGREEN_RUN_TRAINER="false", **settings) as server:
        yield server


def begin_request(server: Server) -> socket.socket:
    """A prediction whose body is still on its way."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(_IMAGE), _IMAGE[:100])
    )
    return connection


def ready(server: Server) -> int:
    status: int = server.http.get("/readyz").status_code
    return status


def test_server_that_ends_is_unready_first_and_then_finishes(server: Server) -> None:
    processes = tree(server.pid)
    started = begin_request(server)
    assert ready(server) == 200
    os.kill(server.pid, signal.SIGTERM)
    wait_until(lambda: ready(server) == 503, 2, "the server to be unready")
    assert server.http.get("/v2/health/ready").status_code == 503
    answer = server.http.post("/v1/predict", content=_IMAGE, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    assert answer.headers["Connection"] == "close"
    time.sleep(4)  # no new connection is taken any more
    started.sendall(_IMAGE[100:])
    response = http.client.HTTPResponse(started)
    response.begin()
    assert response.status == 200
    response.close()
    started.close()
    wait_until(lambda: len(tree(server.pid)) < len(processes), 5, "the worker to end")


def test_request_that_does_not_end_is_cut_off(server: Server) -> None:
    _, worker = tree(server.pid)[:2]
    begun = begin_request(server)
    os.kill(server.pid, signal.SIGTERM)
    started = time.monotonic()
    wait_until(lambda: worker not in tree(server.pid), 20, "the worker to end")
    assert time.monotonic() - started < 3 + 4 + 5 + 2
    begun.close()
