"""Programs that some tests need: found, or else the test is skipped. In CI they must be there."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def require(*names: str, places: tuple[str, ...] = ()) -> Path:
    """The first of the programs that is on the path, or in one of the places (glob patterns).

    Skips the test where there is none. Fails it if the environment says CI=true: a test that CI
    silently leaves out protects nothing.
    """
    for name in names:
        found = shutil.which(name) or _newest(name, places)
        if found:
            return Path(found)
    return unavailable(f"needs {' or '.join(names)}, which is not installed")


def unavailable(why: str) -> NoReturn:
    """Skip, or fail in CI."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{why}; CI must not leave this out")
    pytest.skip(why)


def _newest(name: str, places: tuple[str, ...]) -> str | None:
    found = [path for place in places for path in glob.glob(f"{place}/{name}")]
    return max(
        found, key=lambda path: [int(n) for n in path.split("/") if n.isdigit()], default=None
    )
