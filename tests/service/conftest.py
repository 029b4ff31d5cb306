from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

with warnings.catch_warnings():
    # It asks for httpx2, which takes httpx's place some day; both will do until then.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

from core.models.backbones import Runtime
from core.models.servable import load
from core.settings import Settings
from core.store.blobs import LocalBlobs
from core.store.store import Store, open_store
from service.api.app import create_app
from service.inference.batcher import Batcher
from service.inference.serving_process import ServingProcess
from tests.service import trained_home
from tests.service.blocking_servable import BlockingServable
from tests.service.swap_worker import Process, starting
from tests.support import tiny


def client_of(serving: ServingProcess) -> TestClient:
    # An unexpected exception is answered, as a server would.
    return local_client(app_of(serving))


def local_client(app: ASGIApp, **options: Any) -> TestClient:
    """A client on this machine, unless it has another address."""
    options = {"base_url": "http://127.0.0.1", "client": ("127.0.0.1", 50_000), **options}
    return TestClient(app, raise_server_exceptions=False, **options)


def app_of(serving: ServingProcess) -> FastAPI:
    app = create_app(serving.settings)
    app.state.serving = serving
    return app


@pytest.fixture
def table_path(tmp_path: Path) -> Path:
    """Longer than a socket's path may be."""
    return tmp_path / ("a" * 120) / "b.load"


def settings_in(home: Path) -> Settings:
    return Settings(home=home, device="cpu", workers=1)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    """A serving process with the small starter, shared by the tests of a file."""
    settings = settings_in(tmp_path_factory.mktemp("serving"))
    started = trained_home.start_with_the_starter(settings)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def client(serving: ServingProcess) -> Iterator[TestClient]:
    with client_of(serving) as opened:  # one event loop for all requests
        yield opened


@pytest.fixture
def fresh(settings: Settings) -> Iterator[TestClient]:
    """A serving process of this test alone, with the small starter."""
    started = trained_home.start_with_the_starter(settings)
    with client_of(started) as opened:
        yield opened
    started.stop()


@pytest.fixture(scope="session")
def _trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    trained_home.train_version_2(settings_in(home))
    store = open_store(settings_in(home))
    with store.db.write() as conn:  # moves the log into the file that is copied
        conn.exec_driver_sql("SELECT 1")
    store.db.close()
    return home


@pytest.fixture(scope="session")
def copy_trained_home(_trained_home: Path) -> Callable[[Path], Settings]:
    """Copy an installation with version 2, trained on red and blue, as champion."""

    def copy(home: Path) -> Settings:
        shutil.copytree(_trained_home, home)
        return settings_in(home)

    return copy


@pytest.fixture(scope="module")
def trained_serving(
    copy_trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServingProcess]:
    started = ServingProcess.start(copy_trained_home(tmp_path_factory.mktemp("copy") / "home"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def trained_client(trained_serving: ServingProcess) -> Iterator[TestClient]:
    with client_of(trained_serving) as opened:
        yield opened


@pytest.fixture
def make_blocking(tmp_path: Path) -> Callable[[int], BlockingServable]:
    """Makes a version of that number, with a head of its own."""
    blobs, runtime = LocalBlobs(tmp_path / "blobs"), Runtime("cpu")

    def make(version: int) -> BlockingServable:
        manifest = tiny.make_manifest(blobs, ("a", "b", "c"), head_seed=version, version=version)
        return BlockingServable(load(manifest, blobs, runtime))

    return make


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    started = Batcher(max_batch=4)
    yield started
    started.stop()


@pytest.fixture
def start(store: Store) -> Iterator[Callable[[], Process]]:
    """Start what takes part in swaps of a serving process, on the store of the file."""
    with starting(store) as start_one:
        yield start_one
