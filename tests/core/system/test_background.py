"""Background work: its priority, its thread, and the thread that waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from core.system import background
from core.system.background import call_back, run_idle, run_low, trim_memory

pytestmark = pytest.mark.slow  # not in `make check`

needs_idle_priority = pytest.mark.skipif(
    not hasattr(os, "SCHED_IDLE"), reason="only Linux has an idle priority"
)


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def policy() -> int:
    return os.sched_getscheduler(0)


@pytest.fixture
def _a_cpu_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine that runs the tests is."""
    monkeypatch.setattr(background, "_is_a_cpu_idle", lambda _: True)


def run_script(script: str, timeout_s: float = 60) -> str:
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=timeout_s,
    ).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="threads share their niceness here")
def test_low_work_yields_and_its_caller_does_not() -> None:
    before = niceness()
    assert run_low(niceness) > before
    assert niceness() == before


def test_work_raises_in_its_caller() -> None:
    for run in (run_low, run_idle):
        with pytest.raises(ZeroDivisionError):
            run(lambda: 1 // 0)


def test_one_thread_does_the_work_of_all_callers() -> None:
    found = {run_low(threading.current_thread)}
    callers = [
        threading.Thread(target=lambda: found.add(run_low(threading.current_thread)))
        for _ in range(3)
    ]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert len(found) == 1
    assert found.isdisjoint([*callers, threading.current_thread()])


def test_nested_work_does_not_wait_for_itself() -> None:
    for outer in (run_low, run_idle):
        assert outer(lambda: (run_low(lambda: 1), run_idle(lambda: 2))) == (1, 2)


@needs_idle_priority
@pytest.mark.usefixtures("_a_cpu_is_idle")
def test_idle_work_and_the_threads_it_starts_are_idle() -> None:
    def policies() -> tuple[int, int]:
        found: list[int] = []
        started = threading.Thread(target=lambda: found.append(policy()))
        started.start()
        started.join()
        return policy(), found[0]

    before = policy()
    assert run_idle(policies) == (os.SCHED_IDLE, os.SCHED_IDLE)
    assert policy() == before


# One core, and two processes that want all of it for good.
SATURATED = """
import os, subprocess, sys, time
from core.system.background import run_idle
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
time.sleep(0.5)
def work():
    end = time.thread_time() + 0.01
    while time.thread_time() < end: pass
    return os.sched_getscheduler(0) == os.SCHED_IDLE
try:
    print(run_idle(work, patience_s=0.4))
finally:
    for process in busy:
        process.kill()
        process.wait()
"""


@needs_idle_priority
def test_idle_work_ends_at_low_priority_where_all_cpus_are_busy_for_good() -> None:
    assert run_script(SATURATED) == "False\n"


@needs_idle_priority
def test_idle_work_is_idle_where_a_cpu_is() -> None:
    assert run_idle(policy, patience_s=60) == os.SCHED_IDLE


@needs_idle_priority
def test_idle_work_that_waits_behind_other_idle_work_becomes_low() -> None:
    goes_on, entered = threading.Event(), threading.Event()
    first = threading.Thread(
        target=run_idle,
        args=(lambda: entered.set() or goes_on.wait(60),),
        kwargs={"patience_s": 60},
    )
    first.start()
    assert entered.wait(60)
    assert run_idle(policy, patience_s=0.01) == os.SCHED_OTHER
    goes_on.set()
    first.join()


def test_call_back_is_done_by_the_caller_of_the_work() -> None:
    def work() -> tuple[threading.Thread, threading.Thread]:
        return call_back(threading.current_thread), threading.current_thread()

    for run in (run_low, run_idle):
        done_by, worked_by = run(work)
        assert done_by is threading.current_thread()
        assert worked_by is not threading.current_thread()
    assert call_back(lambda: "outside of such work, just done").startswith("outside")


@needs_idle_priority
@pytest.mark.usefixtures("_a_cpu_is_idle")
def test_call_back_of_idle_work_is_done_at_the_priority_of_its_caller() -> None:
    assert run_idle(lambda: (policy(), call_back(policy))) == (os.SCHED_IDLE, policy())


def test_call_back_raises_in_the_work() -> None:
    def work() -> str:
        with pytest.raises(ZeroDivisionError):
            call_back(lambda: 1 // 0)
        return "went on"

    assert run_idle(work) == "went on"


def test_meanwhile_is_called_again_and_again_by_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_MEANWHILE_EVERY_S", 0.001)
    threads: list[threading.Thread] = []
    third = threading.Event()

    def meanwhile(_: bool) -> None:
        threads.append(threading.current_thread())
        if len(threads) == 3:
            third.set()

    assert run_idle(lambda: third.wait(30), meanwhile)
    assert set(threads) == {threading.current_thread()}


def test_work_does_not_keep_a_process_from_ending() -> None:
    started = time.monotonic()
    run_script(
        "import threading, time\n"
        "from core.system.background import run_idle, run_low\n"
        "begun = [threading.Event(), threading.Event()]\n"
        "for run, event in zip((run_idle, run_low), begun):\n"
        "    work = lambda event=event: event.set() or time.sleep(50)\n"
        "    threading.Thread(target=run, args=(work,), daemon=True).start()\n"
        "assert all(event.wait(40) for event in begun)\n"
    )
    assert time.monotonic() - started < 45


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_work_is_done_in_a_fork_too() -> None:
    script = (
        "import os, warnings\n"
        "from core.system.background import run_low\n"
        "run_low(lambda: None)\n"
        "warnings.simplefilter('ignore')\n"
        "if os.fork() == 0:\n"
        "    print(run_low(lambda: 'done in a fork'), flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    assert run_script(script) == "done in a fork\n"


def test_memory_can_be_trimmed_at_any_time() -> None:
    trim_memory()
    assert run_low(lambda: "done") == "done"
