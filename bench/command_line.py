"""Run a command of `evergreen` on the home of a bench, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.server import ROOT


def evergreen(home: Path, *arguments: str) -> None:
    """Raises RuntimeError if it fails."""
    env = os.environ | {"EVERGREEN_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"evergreen {' '.join(arguments)} failed: {done.stderr[-1000:]}")
