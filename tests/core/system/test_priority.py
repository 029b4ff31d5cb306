"""CPU priority of threads and sessions."""

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
def test_session_yields_only_if_the_process_leads_it() -> None:
    def autogroup(is_own: bool) -> str:
        command = [sys.executable, "-c", YIELD]
        return subprocess.run(
            command, start_new_session=is_own, capture_output=True, text=True, check=True
        ).stdout

    before = AUTOGROUP.read_text()
    assert "nice 7" in autogroup(is_own=True)
    assert "nice 7" not in autogroup(is_own=False)
    assert AUTOGROUP.read_text() == before


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
@pytest.mark.parametrize("is_allowed", [True, False])
def test_thread_that_may_not_be_idle_has_low_priority(
    monkeypatch: pytest.MonkeyPatch, is_allowed: bool
) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError

    if not is_allowed:
        monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    found: list[tuple[int, int]] = []

    def run() -> None:
        be_idle()
        niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        found.append((os.sched_getscheduler(0), niceness))

    usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    policy, niceness = found[0]
    assert policy == (os.SCHED_IDLE if is_allowed else os.SCHED_OTHER)
    assert niceness > usual
