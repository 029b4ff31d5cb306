"""A server whose parent process is killed leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.support.server import running
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_in(home: Path) -> list[int]:
    """The process ids, found by EVERGREEN_HOME, because each process has its own session."""
    setting = f"EVERGREEN_HOME={home}".encode()
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if setting in (folder / "environ").read_bytes().split(b"\0"):
                pids.append(int(folder.name))
    return pids


def test_workers_and_trainer_end_with_their_parent(tmp_path: Path) -> None:
    with running(tmp_path / "home") as server:
        # The parent, two workers, the trainer's service, and the trainer, which starts last.
        wait_until(lambda: len(processes_in(server.home)) > 4, 30, "the trainer")
        others = [pid for pid in processes_in(server.home) if pid != server.pid]
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, others)), 30, "every process of the server to end")
