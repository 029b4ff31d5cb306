from __future__ import annotations

from pathlib import Path

import pytest

from core.backbones import Runtime
from core.blobs import LocalBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def runtime() -> Runtime:
    return Runtime("cpu")
