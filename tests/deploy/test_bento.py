"""A Bento is built without a network, and serves the whole loop with only its requirements
installed, started as in the image: by its entrypoint, with the command of the compose file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.deploy import clean_environment
from tests.support import images
from tests.support.server import free_port
from tests.support.wait import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("bento")]

ROOT = Path(__file__).parents[2]
MAX_BENTO_BYTES = 10_000_000
IMAGE_PATH = "/home/bentoml/bento"


@pytest.fixture(scope="module")
def bentoml_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Bento store with one Bento, built without a package index and without a network."""
    home = tmp_path_factory.mktemp("bentoml")
    offline = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1"}
    offline |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    subprocess.run(
        [sys.executable, "-m", "bentoml", "build", str(ROOT)],
        env={**os.environ, **offline, "BENTOML_HOME": str(home)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return home


@pytest.fixture(scope="module")
def bento(bentoml_home: Path) -> Path:
    store = bentoml_home / "bentos" / "evergreen"
    return store / (store / "latest").read_text()


@pytest.fixture(scope="module")
def programs(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = (bento / "env/python/requirements.txt").read_text().splitlines()
    return clean_environment.make(tmp_path_factory.mktemp("venv"), [line for line in lines if line])


def test_bento_holds_only_what_runs(bento: Path) -> None:
    found = {str(path.relative_to(bento)) for path in bento.rglob("*") if path.is_file()}
    packages = ("core", "service", "training", "cli")
    files = [path for package in packages for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {f"src/{path.relative_to(ROOT)}" for path in files if path.suffix != ".pyc"}
    assert wanted <= found
    assert {path.suffix for path in files} >= {".safetensors", ".onnx", ".toml", ".html", ".mako"}
    tops = {name.split("/")[1] for name in found if name.startswith("src/")}
    assert tops <= {*packages, "pyproject.toml", "bentofile.yaml", "README.md", "LICENSE"}
    assert not [name for name in found if name.endswith((".pyc", ".db", ".log"))]
    assert sum(path.stat().st_size for path in bento.rglob("*") if path.is_file()) < MAX_BENTO_BYTES


def test_bento_keeps_environment_markers_and_image_settings(bento: Path) -> None:
    requirements = (bento / "env/python/requirements.txt").read_text()
    assert 'onnxruntime-gpu>=1.22,<2; sys_platform == "linux" and' in requirements
    assert 'onnxruntime>=1.22,<2; sys_platform != "linux" or' in requirements
    dockerfile = (bento / "env/docker/Dockerfile").read_text()
    assert "FROM python:3.11-slim " in dockerfile
    assert "ARG EVERGREEN_HOME=/data\n" in dockerfile
    # The compose file and the unit unset the first, and use the second.
    assert "ENV BENTOML_CONTAINERIZED=true" in dockerfile
    assert f"ARG BENTO_PATH={IMAGE_PATH}\n" in dockerfile
    # The setup script makes the volume the user's, so it runs before USER.
    assert dockerfile.index("env/docker/script__") < dockerfile.index("\nUSER bentoml")


def test_bento_serves_the_loop_and_a_backup_restores_it(
    bento: Path, bentoml_home: Path, programs: Path, tmp_path: Path
) -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    command = [str(bento) if part == IMAGE_PATH else part for part in service(compose)["command"]]
    entrypoint = ["bash", str(bento / "env/docker/entrypoint.sh")]
    home = tmp_path / "data"
    red, blue = paintings("red", 12), paintings("blue", 12)

    settings = {"EVERGREEN_HOME": str(home), "BENTOML_CONTAINERIZED": "true"}
    with serving([*entrypoint, *command], programs, tmp_path / "run", settings) as server:
        first = server.predict(red[-1])
        assert first["version"] == 1
        for label, pictures in (("red", red[:10]), ("blue", blue[:10])):
            for picture in pictures:
                server.label(server.predict(picture)["prediction_id"], label)
        wait_until(lambda: server.predict(red[-1])["version"] >= 2, 30, "version 2")
        wait_until(server.has_learned_all, 30, "every label to be learned")
        version = server.get("/v1/status")["version"]
        assert [server.predict(p)["label"] for p in (red[-1], blue[-1])] == ["red", "blue"]
        manifest = server.get(f"/v1/versions/{version}")["manifest"]
        release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert manifest["libraries"]["evergreen-classifier"] == release
        assert server.get("/openapi.json")["info"]["version"] == release

        worker = server.get("/v1/status")["workers"][0]["pid"]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: server.worker() not in (None, worker), 30, "a new worker")

        # The command line is included.
        status = subprocess.run(
            [programs / "python", "-m", "cli", "status"],
            cwd=bento / "src",
            env={"EVERGREEN_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert status.returncode == 0, status.stderr

        copy = tmp_path / "new" / "bentoml" / "evergreen-data"
        for words, of in (("backup", home), ("restore", copy)):
            subprocess.run(
                [programs / "python", "-m", "cli", words, tmp_path / "backups"],
                cwd=bento / "src",
                env={"EVERGREEN_HOME": str(of)},
                check=True,
                capture_output=True,
                timeout=60,
            )
    assert server.stopped_well, server.log()

    # In another folder, from the store and without EVERGREEN_HOME: the data is in BENTOML_HOME.
    shutil.copytree(bentoml_home / "bentos", copy.parent / "bentos")
    serve = ["bentoml", "serve", "evergreen:latest"]
    with serving(serve, programs, copy.parent, {}) as server:
        assert [server.predict(p)["label"] for p in (red[-1], blue[-1])] == ["red", "blue"]
        assert server.get("/v1/status")["version"] == version
    assert list(bento.rglob("*.db")) == []


class Server:
    def __init__(self, url: str, log_path: Path) -> None:
        self.stopped_well = False
        self.http = httpx.Client(base_url=url, timeout=20)
        self._log_path = log_path

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def predict(self, picture: bytes) -> Any:
        headers = {"Content-Type": "image/png"}
        answer = self.http.post("/v1/predict", content=picture, headers=headers)
        return answer.raise_for_status().json()

    def label(self, prediction_id: str, label: str) -> None:
        body = {"prediction_id": prediction_id, "label": label}
        self.http.post("/v1/feedback", json=body).raise_for_status()

    def has_learned_all(self) -> bool:
        status = self.get("/v1/status")
        busy = status["runs"] or status["promotion_waiting"]
        return status["labels"]["waiting"] == 0 and not busy

    def worker(self) -> int | None:
        """The only worker; None where there is none."""
        try:
            pids = [w["pid"] for w in self.get("/v1/status")["workers"]]
        except httpx.HTTPError:
            return None
        return pids[0] if len(pids) == 1 else None

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.http.get("/readyz").is_success and self.worker() is not None
        return False

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")


@contextlib.contextmanager
def serving(
    command: Sequence[str], programs: Path, bentoml_home: Path, settings: dict[str, str]
) -> Iterator[Server]:
    """Run a server command on BENTOML_PORT, with these programs and nothing else of this
    environment."""
    port = free_port()
    bentoml_home.mkdir(exist_ok=True)
    elsewhere = bentoml_home / "elsewhere"
    elsewhere.mkdir()
    env = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(elsewhere),
        "BENTOML_HOME": str(bentoml_home),
        "BENTOML_HOST": "127.0.0.1",
        "BENTOML_PORT": str(port),
        "BENTOML_DO_NOT_TRACK": "true",
        "EVERGREEN_WORKERS": "1",
        **settings,
    }
    log_path = bentoml_home / "server.log"
    server = Server(f"http://127.0.0.1:{port}", log_path)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, env=env, cwd=elsewhere, stdout=log, stderr=log, start_new_session=True
        )
    try:
        try:
            wait_until(server.is_ready, 40, "the server to be ready")
        except TimeoutError as error:
            raise AssertionError(server.log()) from error
        yield server
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            ended_well = process.wait(25) == 0
            server.stopped_well = ended_well and "Fatal Python error" not in server.log()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        server.http.close()


def paintings(colour: str, count: int) -> list[bytes]:
    """Different scenes in one colour."""
    found = []
    for seed in range(count):
        shape = np.asarray(images.scene(160, 120, seed).convert("L"), np.uint8)
        channels = np.zeros((*shape.shape, 3), np.uint8)
        channels[..., ["red", "green", "blue"].index(colour)] = shape // 2 + 100
        found.append(images.encode(Image.fromarray(channels), "PNG"))
    return found


def service(compose: Any) -> Any:
    return compose["services"]["evergreen"]
