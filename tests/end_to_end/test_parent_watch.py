"""What is left of a server whose master was killed outright: nothing."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.support.server import running
from tests.support.wait import wait_until

pytestmark = pytest.mark.end_to_end


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_in(home: Path) -> list[int]:
    """By what is in their environment: each has a session of its own."""
    setting = f"EVERGREEN_HOME={home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if setting in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def test_workers_and_trainer_end_with_their_master(tmp_path: Path) -> None:
    with running(tmp_path / "home") as server:
        # Two workers, the trainer's service, and the trainer, which nobody waited for.
        wait_until(lambda: len(processes_in(server.home)) > 4, 30, "the trainer")
        others = [pid for pid in processes_in(server.home) if pid != server.pid]
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(lives, others)), 30, "every process of the server to end")
