"""Few processes of a machine open a backbone at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from service.swap import file_semaphore as turns_module
from service.swap.file_semaphore import Turns
from tests.support.concurrency import in_threads

_WITHIN_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shared" / "here"


@pytest.mark.parametrize("at_once", [1, 2])
def test_only_so_many_have_a_turn_at_once(path: Path, at_once: int) -> None:
    having, most, lock = 0, 0, threading.Lock()

    def load(_: int) -> None:
        nonlocal having, most
        # Each opens the files for itself, as processes do.
        with Turns(path, at_once).taken():
            with lock:
                having += 1
                most = max(most, having)
            time.sleep(0.03)
            with lock:
                having -= 1

    in_threads(6, load)
    assert most == at_once


def test_a_turn_ends_with_its_process_however_that_ends(path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from service.swap.file_semaphore import Turns\n"
        "with Turns(Path(sys.argv[1]), 1).taken():\n"
        "    print('taken', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "taken\n"
        taken = threading.Event()

        def wait() -> None:
            with Turns(path, 1).taken():
                taken.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not taken.wait(0.2)
        os.kill(child.pid, signal.SIGKILL)
        assert taken.wait(_WITHIN_S)
        waiting.join()
    finally:
        child.kill()
        child.communicate()


def test_nobody_waits_for_one_that_is_stuck(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "_WITHIN_S", 0.05)
    with Turns(path, 1).taken(), Turns(path, 1).taken():
        pass
    with contextlib.ExitStack() as free:
        Turns(path, 1)._take(free)
        (file,) = path.parent.iterdir()
        assert file.name == "here.0.turn"


def test_where_there_can_be_no_locks_all_go_at_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.touch()  # a file, where the folder should be
    with Turns(path, 1).taken():
        assert "turns.impossible" in caplog.messages
