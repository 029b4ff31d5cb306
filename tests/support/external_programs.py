"""Find a program that a test needs, or skip the test. In CI the test fails instead."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def require(*names: str, places: tuple[str, ...] = ()) -> Path:
    """The first of the programs that is on the path, or in one of the places (glob patterns).

    If there is none, skips the test, or fails it where CI=true: a test that CI silently leaves out
    protects nothing.
    """
    for name in names:
        program = shutil.which(name) or _newest(name, places)
        if program:
            return Path(program)
    return unavailable(f"needs {' or '.join(names)}, which is not installed")


def unavailable(why: str) -> NoReturn:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{why}; CI must not skip this test")
    pytest.skip(why)


def _newest(name: str, places: tuple[str, ...]) -> str | None:
    paths = [path for place in places for path in glob.glob(f"{place}/{name}")]
    return max(
        paths, key=lambda path: [int(n) for n in path.split("/") if n.isdigit()], default=None
    )
