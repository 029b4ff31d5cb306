"""Idle work that gets no core: it is told, and so is its caller."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.system.core_watch import CoreWatch
from tests.support.wait import wait_until

# Both processes begin when the work has begun at idle priority on its core.
SATURATED_LATER = """
import os, subprocess, sys, time
from core.system import background
from core.system.background import call_back, is_starved, run_idle, run_low
background._is_a_cpu_idle = lambda _: True
background._MEANWHILE_EVERY_S, background._STARVED_AFTER = 0.1, 10
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
busy, waits = [], []
def begin():
    busy.extend(subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2))
def work():
    call_back(begin)
    for step in range(2_000):
        if is_starved():
            return step
        end = time.thread_time() + 0.001
        while time.thread_time() < end: pass
def low_work():
    end = time.thread_time() + 0.05
    while time.thread_time() < end: pass
    return os.sched_getscheduler(0) == os.SCHED_OTHER and not is_starved()
try:
    step = run_idle(work, waits.append)
    print(step is not None, any(waits), run_low(low_work))
finally:
    for process in busy:
        process.kill()
        process.wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="only Linux has an idle priority")
def test_idle_work_learns_that_all_cpus_became_busy_for_good() -> None:
    script = [sys.executable, "-c", SATURATED_LATER]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True True True\n"


def test_thread_that_waits_for_an_event_does_not_wait_for_a_core() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(30,))
    thread.start()
    watch = CoreWatch()
    watch.thread_id = thread.native_id
    try:
        wait_until(lambda: not is_runnable(thread), 10, "the thread to wait")
        waits = [watch.look() for _ in range(10)]
    finally:
        end.set()
        thread.join()
    assert (any(waits), watch.num_waits) == (False, 0)


def is_runnable(thread: threading.Thread) -> bool:
    stat = Path(f"/proc/self/task/{thread.native_id}/stat")
    return stat.exists() and ") R " in stat.read_text()
