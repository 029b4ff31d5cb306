"""Priority of threads and sessions."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from core.system.priority import be_idle

AUTOGROUP = Path("/proc/self/autogroup")
YIELD = f"""
from pathlib import Path
from core.system.priority import session_yields
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


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_thread_that_may_not_be_idle_yields_at_least(
    monkeypatch: pytest.MonkeyPatch, is_allowed: bool
) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError

    if not is_allowed:
        monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    found: list[tuple[int, int]] = []

    def look() -> None:
        be_idle()
        niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        found.append((os.sched_getscheduler(0), niceness))

    usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    policy, niceness = found[0]
    assert policy == (os.SCHED_IDLE if is_allowed else os.SCHED_OTHER)
    assert niceness > usual
