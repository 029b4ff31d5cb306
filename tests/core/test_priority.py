"""Priority of sessions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
YIELD = f"""
from pathlib import Path
from core.priority import session_yields
session_yields(7)
print(Path({str(AUTOGROUP)!r}).read_text())
"""


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel knows no groups of sessions")
def test_a_session_of_its_own_yields_and_that_of_others_does_not() -> None:
    def told(is_own: bool) -> str:
        command = [sys.executable, "-c", YIELD]
        return subprocess.run(
            command, start_new_session=is_own, capture_output=True, text=True, check=True
        ).stdout

    before = AUTOGROUP.read_text()
    assert "nice 7" in told(is_own=True)
    assert "nice 7" not in told(is_own=False)
    assert AUTOGROUP.read_text() == before
