"""Start a real server for a bench or an end-to-end test.

It is `bentoml serve` on a free port, in its own process group, with an empty home folder.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
_STOP_WITHIN_S = 20.0


class Server:
    def __init__(self, home: Path, *, workers: int = 2, root: Path = ROOT, **settings: str) -> None:
        """`root` is the checkout to serve. `settings` are variables of its environment."""
        self.home = home
        self._root = root
        self.num_workers = workers
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # One client, because making one takes longer than a request. Each request has its own
        # connection, because the worker of a kept-alive connection may be killed.
        no_keep_alive = httpx.Limits(max_keepalive_connections=0)
        key_file = settings.get("EVERGREEN_ADMIN_KEY_FILE")
        key = Path(key_file).read_text().strip() if key_file else ""
        self.http = httpx.Client(
            base_url=self.url,
            timeout=30,
            limits=no_keep_alive,
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )
        self.log_path = home / "server.log"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 60.0) -> float:
        """Start, and wait until every worker is ready. Returns how many seconds that took."""
        self.home.mkdir(parents=True, exist_ok=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("EVERGREEN_", "BENTOML_"))}
        env |= {
            "EVERGREEN_HOME": str(self.home),
            "EVERGREEN_WORKERS": str(self.num_workers),
            "BENTOML_HOME": str(self.home / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
            "PYTHONPATH": str(self._root),
            **self._settings,
        }
        command = [sys.executable, "-m", "bentoml", "serve", "service.bento:Evergreen"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--working-dir", str(self._root), "--timeout-keep-alive", "75"]
        started = time.perf_counter()
        # It shares our session. Linux shares the CPU evenly among sessions (autogroup), so in its
        # own one the priorities of the server's threads would not count.
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=env, cwd=self._root, stdout=log, stderr=log, process_group=0
            )
        wait_until(self._is_ready, timeout_s, f"the server to be ready; see {self.log_path}")
        return time.perf_counter() - started

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_WITHIN_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = self.http.get("/v1/status", timeout=10).json()
        return content

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended: {self.log()[-2000:]}")
        try:
            return len(self.status()["workers"]) == self.num_workers
        except (httpx.HTTPError, KeyError, ValueError):
            return False


@contextlib.contextmanager
def running(
    home: Path, *, workers: int = 2, root: Path = ROOT, **settings: str
) -> Iterator[Server]:
    server = Server(home, workers=workers, root=root, **settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def answers_of_every_worker(
    server: Server,
    body: bytes,
    is_wanted: Callable[[dict[str, Any]], bool],
    timeout_s: float,
    content_type: str = "image/png",
) -> dict[str, dict[str, Any]]:
    """Predict until every worker has given a wanted answer. Returns the answers by worker.

    That a home of texts has no classes yet is an answer that is not wanted.
    """
    wanted: dict[str, dict[str, Any]] = {}

    def predict(enough: int) -> bool:
        # A new connection, because a kept-alive one stays with its worker. And http.client, because
        # httpx would use as much CPU as the prediction itself.
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/predict", body, {"Content-Type": content_type})
            response = connection.getresponse()
            content = response.read()
        if response.status == HTTPStatus.CONFLICT:
            return False
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"{response.status}: {content[:500]!r}")
        answer = json.loads(content)
        if is_wanted(answer):
            wanted[response.headers["Evergreen-Worker"]] = answer
        return len(wanted) >= enough

    what = "every worker to give the wanted answer"
    wait_until(lambda: predict(1), timeout_s, what)
    # The other workers follow immediately, and the kernel chooses which of them answers.
    wait_until(lambda: predict(server.num_workers), timeout_s, what, pause_s=0.005)
    return wanted


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
