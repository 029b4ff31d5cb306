from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.registry import workers
from core.store.store import open_store
from service.processes import trainer_supervisor
from service.processes.trainer_supervisor import Supervisor, next_pause_s
from tests.service.conftest import settings_in
from tests.support.concurrency import ROOT
from tests.support.wait import wait_until

# Waits for real moments, or repeats thousands of histories: not in `make check`.
pytestmark = pytest.mark.slow

WITHIN_S = 30.0


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("num_failures", "pause"),
    [(0, 0.5), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (100_000, 30)],
)
def test_pause_doubles_up_to_half_a_minute(num_failures: int, pause: float) -> None:
    assert next_pause_s(num_failures) == pause


def test_trainer_that_ends_is_started_again_after_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def short_pause(num_failures: int) -> float:
        asked.append(num_failures)
        return 0.01

    monkeypatch.setattr(trainer_supervisor, "next_pause_s", short_pause)
    starts = tmp_path / "starts"
    supervisor = Supervisor(script(f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)"))
    supervisor.start()
    wait_until(lambda: len(asked) >= 3)
    supervisor.stop()
    assert asked[:3] == [0, 1, 2]
    assert len(starts.read_text()) >= 3


def test_pause_is_reset_after_a_healthy_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def short_pause(num_failures: int) -> float:
        asked.append(num_failures)
        return 0.01

    monkeypatch.setattr(trainer_supervisor, "next_pause_s", short_pause)
    supervisor = Supervisor(script(""), healthy_after_s=0.0)
    supervisor.start()
    wait_until(lambda: len(asked) >= 2)
    supervisor.stop()
    assert set(asked) == {0}


def test_stop_lets_the_trainer_end_by_itself(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"""
import sys
open({str(log)!r}, 'a').write('began ')
sys.stdin.read()
open({str(log)!r}, 'a').write('ended')
"""
    supervisor = Supervisor(script(code))
    supervisor.start()
    wait_until(log.exists)
    supervisor.stop()
    assert log.read_text() == "began ended"


def test_stop_kills_a_trainer_that_does_not_end(tmp_path: Path) -> None:
    began = tmp_path / "began"
    endless = script(f"import time; open({str(began)!r}, 'w'); time.sleep(600)")
    supervisor = Supervisor(endless, stop_within_s=0.2)
    supervisor.start()
    wait_until(began.exists)
    pid = supervisor.pid
    assert pid is not None
    supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_stop_during_a_pause_does_not_wait(tmp_path: Path) -> None:
    supervisor = Supervisor(script(""))
    supervisor.start()
    wait_until(lambda: supervisor.pid is not None)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5


@pytest.mark.skipif(os.name != "posix", reason="process groups are of POSIX")
def test_trainer_is_in_another_process_group_than_ctrl_c_reaches() -> None:
    supervisor = Supervisor(script("import sys; sys.stdin.read()"))
    supervisor.start()
    wait_until(lambda: supervisor.pid is not None)
    pid = supervisor.pid
    assert pid is not None
    assert os.getpgid(pid) != os.getpgrp()
    supervisor.stop()


PARENT = """
import time
from service.processes.trainer_supervisor import Supervisor
Supervisor().start(); time.sleep(600)
"""


def test_trainer_ends_when_the_server_is_killed(tmp_path: Path) -> None:
    """The real child, `python -m training`, notices by its standard input."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("EVERGREEN_")}
    parent = subprocess.Popen(
        script(PARENT),
        cwd=ROOT,
        env=environ | {"EVERGREEN_HOME": str(tmp_path), "EVERGREEN_DEVICE": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        store = open_store(settings_in(tmp_path))

        def trainers() -> list[workers.Worker]:
            with store.db.read() as conn:
                return workers.live(conn, time.time(), "trainer")

        wait_until(lambda: trainers() != [], WITHIN_S)
        (child,) = trainers()
        parent.send_signal(signal.SIGKILL)
        # The output ends when the last who holds it has ended: the child.
        log, _ = parent.communicate(timeout=WITHIN_S)
        assert b"Fatal" not in log
        assert b"Traceback" not in log
        assert child.pid != parent.pid
        assert trainers() == []
        store.db.close()
    finally:
        parent.kill()
        parent.communicate()
