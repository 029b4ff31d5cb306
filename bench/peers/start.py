"""Start a peer in a process group of its own, and wait until it answers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.peers.classifier import DECODER, MODEL, PORT, WORKERS
from tests.support.server import ROOT, free_port
from tests.support.wait import wait_until

_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    # The package that must be importable.
    package: str
    command: tuple[str, ...]
    path: str = "/predict"
    # None if the image or text is the request body.
    form_field: str | None = None
    content_type: str = "image/jpeg"


PEERS = (
    Peer("FastAPI + uvicorn", "fastapi", ("-m", "bench.peers.fastapi_peer")),
    Peer("LitServe", "litserve", ("-m", "bench.peers.litserve_peer"), form_field="content"),
    Peer(
        "BentoML, default",
        "bentoml",
        ("-m", "bentoml", "serve", "bench.peers.bentoml_peer:Peer", "--host", "127.0.0.1"),
    ),
)


def missing(peer: Peer, python: str) -> str | None:
    """Return why the peer cannot be measured, or None if it can."""
    check = f"import {peer.package}, onnxruntime, PIL, numpy"
    done = subprocess.run([python, "-c", check], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return f"not measured: {(done.stderr.strip().splitlines() or ['it does not start'])[-1]}"


@contextlib.contextmanager
def running(
    peer: Peer, python: str, model: Path, *, workers: int, decoder: str, body: bytes
) -> Iterator[tuple[int, int]]:
    """Start a peer. Yields its port and pid once it answers a prediction of `body`.

    `decoder` is `plain`, `evergreen` or `tokens`. Raises RuntimeError, TimeoutError.
    """
    port = free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("EVERGREEN_", "BENTOML_"))}
    env |= {MODEL: str(model), DECODER: decoder, WORKERS: str(workers), PORT: str(port)}
    env |= {"PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1", "BENTOML_DO_NOT_TRACK": "true"}
    command = [python, *peer.command]
    if peer.package == "bentoml":
        command += ["--port", str(port), "--working-dir", str(ROOT)]
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                env=env | {"BENTOML_HOME": folder},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            url = f"http://127.0.0.1:{port}{peer.path}"
            wait_until(
                lambda: _answers(peer, url, body, process, log_path), _START_WITHIN_S, peer.name
            )
            # Its other workers may still be loading.
            time.sleep(2)
            yield port, process.pid
        finally:
            _stop(process)


def _answers(
    peer: Peer, url: str, body: bytes, process: subprocess.Popen[bytes], log_path: Path
) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"{peer.name} ended: {log_path.read_text(errors='replace')[-2000:]}")
    try:
        if peer.form_field is None:
            kind = {"Content-Type": peer.content_type}
            response = httpx.post(url, content=body, headers=kind, timeout=10)
        else:
            files = {peer.form_field: ("photo.jpg", body, peer.content_type)}
            response = httpx.post(url, files=files, timeout=10)
    except httpx.HTTPError:
        return False
    if response.status_code in (200, 404) or response.status_code >= 500:
        return response.status_code == 200
    raise RuntimeError(f"{peer.name} answers {response.status_code}: {response.text[:300]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_WITHIN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
