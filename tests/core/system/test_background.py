"""Work beside answering."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from core.system.background import (
    call_back,
    run_idle,
    run_idle_or_low,
    run_low,
    trim_memory,
)


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads share their niceness here")
def test_the_work_yields_and_whoever_waits_for_it_does_not() -> None:
    before = niceness()
    assert run_low(niceness) > before
    assert niceness() == before


def test_what_the_work_raises_is_raised_where_it_is_wanted() -> None:
    with pytest.raises(ZeroDivisionError):
        run_low(lambda: 1 // 0)


def test_one_thread_does_all_of_it_whoever_asks() -> None:
    found: set[threading.Thread] = set()

    def ask() -> None:
        found.add(run_low(threading.current_thread))

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(found) == 1
    assert found.isdisjoint(asking)


def test_work_that_has_more_of_it_to_do_does_not_wait_for_itself() -> None:
    assert run_low(lambda: run_low(lambda: "done")) == "done"


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_idle_work_and_what_it_starts_run_on_cores_that_nobody_wants() -> None:
    def policies() -> tuple[int, int]:
        found: list[int] = []
        started = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
        started.start()
        started.join()
        return os.sched_getscheduler(0), found[0]

    before = os.sched_getscheduler(0)
    assert run_idle(policies) == (os.SCHED_IDLE, os.SCHED_IDLE)
    assert os.sched_getscheduler(0) == before


def test_what_others_wait_for_is_done_by_the_thread_that_waits() -> None:
    def work() -> tuple[threading.Thread, threading.Thread]:
        return call_back(threading.current_thread), threading.current_thread()

    done_by, worked_by = run_idle(work)
    assert done_by is threading.current_thread()
    assert worked_by is not threading.current_thread()
    assert call_back(lambda: "without such work, just done") == "without such work, just done"


def test_what_that_raises_is_raised_in_the_work() -> None:
    def work() -> str:
        with pytest.raises(ZeroDivisionError):
            call_back(lambda: 1 // 0)
        return "went on"

    assert run_idle(work) == "went on"


def test_who_waits_long_has_something_to_do_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.system.background._MEANWHILE_EVERY_S", 0.001)
    called = threading.Event()
    assert run_idle(lambda: called.wait(30), called.set)


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_who_waited_long_for_a_core_is_at_low_priority_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.system.background._started", {})  # other tests do not starve

    def policy() -> int:
        return os.sched_getscheduler(0)

    def starve(computed_s: float, waited_s: float) -> None:
        times = iter([(0.0, 0.0), (computed_s, waited_s)])
        with monkeypatch.context() as patched:
            patched.setattr("core.system.background._Thread.times_s", lambda _: next(times))
            run_idle(lambda: None)

    starve(computed_s=1.0, waited_s=2.0)  # as one of three has a core for a third of the time
    assert run_idle(policy) == os.SCHED_IDLE
    starve(computed_s=0.1, waited_s=2.0)
    assert run_idle(policy) == os.SCHED_OTHER
    assert run_idle(niceness) > niceness()
    monkeypatch.setattr("core.system.background._STARVED_FOR_S", 0.0)
    assert run_idle(policy) == os.SCHED_IDLE


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_what_is_done_in_idle_moments_makes_nobody_wait() -> None:
    def work() -> tuple[int, int]:
        return os.sched_getscheduler(0), run_idle_or_low(threading.get_native_id)

    policy, thread_id = run_idle_or_low(work)
    assert policy == os.SCHED_IDLE
    assert thread_id == run_idle_or_low(threading.get_native_id) != threading.get_native_id()
    with pytest.raises(ZeroDivisionError):
        run_idle_or_low(lambda: 1 // 0)


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
def test_where_there_is_no_idle_moment_the_work_is_done_nevertheless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.system.background._started", {})  # other tests do not starve
    monkeypatch.setattr("core.system.background._LOOK_EVERY_S", 0.001)
    policies: list[int] = []
    stands_still, goes_on = threading.Event(), threading.Event()

    def work() -> int:
        policies.append(os.sched_getscheduler(0))
        if policies[-1] == os.SCHED_IDLE:
            stands_still.set()
            assert goes_on.wait(30)
        return os.sched_getscheduler(0)

    waited_s = iter(range(1000))
    with monkeypatch.context() as patched:
        patched.setattr(
            "core.system.background._Thread.times_s",
            lambda _: (0.0, float(next(waited_s)) if stands_still.is_set() else 0.0),
        )
        assert run_idle_or_low(work) == os.SCHED_OTHER
        assert policies == [os.SCHED_IDLE, os.SCHED_OTHER]
        # For a while nobody waits for idle moments again.
        assert run_idle_or_low(work) == os.SCHED_OTHER
        monkeypatch.setattr("core.system.background._IMPATIENT_FOR_S", 0.0)
        # Behind what still stands still, and not done there as well once that goes on.
        assert run_idle_or_low(work) == os.SCHED_OTHER
    goes_on.set()
    assert run_idle_or_low(lambda: os.sched_getscheduler(0)) == os.SCHED_IDLE
    assert policies == [os.SCHED_IDLE, *3 * [os.SCHED_OTHER]]


def test_memory_can_be_given_back_at_any_time() -> None:
    trim_memory()
    assert run_low(lambda: "done") == "done"
