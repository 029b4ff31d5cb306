"""Pausing servers while others are measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.processes import pause, resume, tree
from tests.support.wait import wait_until

_PROGRAM = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'print(1, flush=True); input()'])\n"
    "child.wait()"
)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_paused_server_stops_with_all_its_processes_and_can_be_resumed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "1\n"
        pids = tree(parent.pid)
        assert len(pids) == 2
        pause(parent.pid)
        wait_until(lambda: {state_of(pid) for pid in pids} == {"T"}, 30, "both to stop")
        resume(parent.pid)
        parent.communicate("go on\n", timeout=30)
        assert parent.returncode == 0
    finally:
        resume(parent.pid)
        parent.kill()
