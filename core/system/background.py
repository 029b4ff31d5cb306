"""Background work: it runs at low or idle CPU priority while its caller waits for it.

Each process has one thread of each priority, which does such work one after the other. Each glibc
thread keeps memory of its own, so a new thread for each model would make the process grow. The
threads are daemons: work in the background never keeps a process from ending. The standard
library's ThreadPoolExecutor would, as it joins its threads when the interpreter exits.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from core.system.core_watch import CoreWatch
from core.system.priority import be_idle, yield_to_others

_MEANWHILE_EVERY_S = 1.0
# The CPUs count as busy where an idle thread does not get these 5 to 30 ms of CPU time in time.
_PROBE_ITERATIONS = 40_000
_PATIENCE_S = 2.0
# Idle work is starved after so many seconds more in which it waited for a core than in which not.
_STARVED_AFTER = 60

Result = TypeVar("Result")
_Calls = queue.SimpleQueue[Callable[[], None]]
# Called every second with whether the work waits for a core.
Meanwhile = Callable[[bool], None]
# Of a background thread: `calls`, what it asks of the thread that waits for it; and `is_starved`.
_this_thread = threading.local()


def run_low(work: Callable[[], Result], meanwhile: Meanwhile = lambda _: None) -> Result:
    """Run the work at low priority (nice 10) and return what it returns, or raise what it raises.

    The work should hold no lock that others wait for, such as that of a write transaction.
    `meanwhile` is that of `run_idle`.
    """
    if hasattr(_this_thread, "calls"):
        return work()
    return _run(yield_to_others, work, meanwhile)


def run_idle(
    work: Callable[[], Result],
    meanwhile: Meanwhile = lambda _: None,
    *,
    patience_s: float = _PATIENCE_S,
) -> Result:
    """Like `run_low`, at idle priority: the work gets only CPU time that nothing else wants. Where
    no CPU has been idle for `patience_s`, it runs at low priority instead, so that it ends.

    Where the CPUs become busy later, `is_starved` tells the work so: it can end and be run again.

    The caller's thread calls `meanwhile` every second, which must not raise. What others wait for
    the work does by `call_back`. It should mostly release the GIL: where it holds the GIL, it holds
    up the other threads of this process until a CPU is idle.
    """
    if hasattr(_this_thread, "calls"):
        return work()  # part of background work, which would wait for itself
    begin = be_idle if _is_a_cpu_idle(patience_s) else yield_to_others
    return _run(begin, work, meanwhile)


def call_back(do: Callable[[], Result]) -> Result:
    """Called in background work: have its caller do this at normal priority, and return what that
    returns, or raise what it raises. Called anywhere else, just do it."""
    calls: _Calls | None = getattr(_this_thread, "calls", None)
    return do() if calls is None else _put(calls, do).result()


def is_starved() -> bool:
    """Called in idle work: whether it has waited for a core for a minute, so that it should end and
    be run again by `run_low`. Linux lets no thread leave idle priority without a privilege."""
    starved: threading.Event | None = getattr(_this_thread, "is_starved", None)
    return starved is not None and starved.is_set()


def trim_memory() -> None:
    """Return freed memory to the system: glibc keeps that of a dropped model."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _run(begin: Callable[[], None], work: Callable[[], Result], meanwhile: Meanwhile) -> Result:
    calls: _Calls = queue.SimpleQueue()
    starved = threading.Event()
    watch = CoreWatch()

    def run() -> Result:
        _this_thread.calls = calls
        _this_thread.is_starved = starved
        watch.thread_id = threading.get_native_id()
        return work()

    done = _put(_thread_queue(begin, os.getpid()), run)
    done.add_done_callback(lambda _: calls.put(lambda: None))  # wakes the caller
    while not done.done():
        with contextlib.suppress(queue.Empty):
            calls.get(timeout=_MEANWHILE_EVERY_S)()
        if watch.seconds_since_look >= _MEANWHILE_EVERY_S:
            is_waiting = watch.look()
            if begin is be_idle and watch.num_waits >= _STARVED_AFTER:
                starved.set()
            meanwhile(is_waiting)
    return done.result()


def _put(calls: _Calls, do: Callable[[], Result]) -> Future[Result]:
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(do())
        except BaseException as error:
            done.set_exception(error)

    calls.put(run)
    return done


@functools.cache
def _thread_queue(begin: Callable[[], None], pid: int) -> _Calls:
    """What the thread of this priority is to do. By process, as a fork has no threads."""
    todo: _Calls = queue.SimpleQueue()

    def run() -> None:
        begin()
        while True:
            todo.get()()

    threading.Thread(target=run, name="background", daemon=True).start()
    return todo


def _is_a_cpu_idle(patience_s: float) -> bool:
    """Whether the idle thread gets some CPU time within `patience_s`."""

    def compute() -> None:
        hashlib.pbkdf2_hmac("sha256", bytes(16), bytes(16), _PROBE_ITERATIONS)  # without the GIL

    return bool(wait([_put(_thread_queue(be_idle, os.getpid()), compute)], patience_s).done)
