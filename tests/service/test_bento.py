"""What `bentoml serve` imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Imports BentoML anew, which takes seconds: not in `make check`.
pytestmark = pytest.mark.slow


def test_uvicorn_formats_no_access_log(tmp_path: Path) -> None:
    # In a process of its own: the import decides for all of it.
    script = (
        "import logging; logging.basicConfig(); import service.bento\n"
        "print(logging.getLogger('uvicorn.access').hasHandlers())"
    )
    env = {**os.environ, "EVERGREEN_HOME": str(tmp_path), "BENTOML_HOME": str(tmp_path / "bento")}
    found = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"
