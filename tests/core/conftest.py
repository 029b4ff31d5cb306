from __future__ import annotations

from pathlib import Path

import pytest

from core.models.backbones import Runtime
from core.store.blobs import LocalBlobs
from core.store.database import Database
from core.store.store import Store
from tests.support import tiny


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def runtime() -> Runtime:
    return Runtime("cpu")


@pytest.fixture
def db(store: Store) -> Database:
    """A database with versions 1 to 4."""
    for _ in range(4):
        tiny.publish(store)
    return store.db
