"""A worker ends with its master, even if the master is killed while the worker starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.concurrency import ROOT
from tests.support.wait import wait_until

# The child says its process id, and is busy for a while before it watches its parent.
_CHILD = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(float(sys.argv[2]))
from service.processes import parent_watch
parent_watch.end_with_master(os.environ, 1.0)
pathlib.Path(sys.argv[1] + ".watches").touch()
{before}
time.sleep(60)
"""
_MASTER = """
import os, subprocess, sys
from service.processes import parent_watch
parent_watch.announce_master(os.environ)
subprocess.run([sys.executable, "-c", *sys.argv[1:]])
"""
_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("while_it_starts", [True, False])
@pytest.mark.parametrize("before", ["", _DEAF], ids=["plain", "ignores SIGTERM"])
def test_child_of_a_killed_master_ends(tmp_path: Path, while_it_starts: bool, before: str) -> None:
    pid_file = tmp_path / "pid"
    pause = "2" if while_it_starts else "0"
    arguments = [_CHILD.format(before=before), str(pid_file), pause]
    with subprocess.Popen(
        [sys.executable, "-c", _MASTER, *arguments], env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as master:
        what = pid_file if while_it_starts else Path(f"{pid_file}.watches")
        wait_until(lambda: what.exists() and pid_file.read_text() != "", 20, "the child")
        child = int(pid_file.read_text())
        time.sleep(0.1)
        assert is_running(child)
        master.kill()
    wait_until(lambda: not is_running(child), 20, "the child to end")


@pytest.mark.slow
def test_worker_without_a_master_keeps_to_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, time; from service.processes import parent_watch; "
        "parent_watch.end_with_master({}, 1.0); time.sleep(1.5); print('lives')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != -signal.SIGTERM
    assert done.stdout == "lives\n"
