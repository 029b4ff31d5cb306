"""Work beside answering: it takes what processor time is left, and gives its memory back."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

# At nice 10 a thread gets about a tenth of what one that answers gets, where both want a core.
NICE = 10

_MEANWHILE_EVERY_S = 1.0
_AUTOGROUP = Path("/proc/self/autogroup")

Result = TypeVar("Result")


def yield_to_others() -> None:
    """Of this thread, for good: without privilege, nobody takes a niceness back."""
    if sys.platform == "linux":  # elsewhere the niceness is the whole process's
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def be_idle() -> None:
    """Of this thread, and of those that it starts, for good: it runs on cores that nobody else
    wants (sched(7), SCHED_IDLE)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def at_low_priority(work: Callable[[], Result]) -> Result:
    """Do the work in a thread that yields to others, and wait for it; raises what it raises. It
    should not hold what others wait for, a transaction that writes for one.

    One thread does all such work of a process, one after the other: glibc gives each thread memory
    of its own to allocate from, and keeps it. With a new thread for each version that was loaded,
    it was now this piece of 16 MiB and now another that the version lay in.
    """
    return _thread(yield_to_others).do(work)


def at_idle_priority(
    work: Callable[[], Result], meanwhile: Callable[[], None] = lambda: None
) -> Result:
    """Like `at_low_priority`, but it stands still for as long as others keep all cores busy, and
    whoever waits for the interpreter's lock with it: for processes that answer nobody.

    What others wait for it has done by `at_normal_priority`. `meanwhile` is called every second by
    the thread that waits, and must not raise.
    """
    return _thread(be_idle).do(work, meanwhile)


def at_normal_priority(do: Callable[[], Result]) -> Result:
    """Called from such work, have this done by the thread that waits for the work, and wait for it;
    raises what it raises. Anywhere else, just do it."""
    asked: _Queue | None = getattr(_this_thread, "asked", None)
    return do() if asked is None else _put(asked, do).result()


_Queue = queue.SimpleQueue[Callable[[], None] | None]
# `asked`: of a thread that does such work, what it wants from the one that waits for it.
_this_thread = threading.local()


def _put(todo: _Queue, do: Callable[[], Result]) -> Future[Result]:
    """Have another thread do this."""
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(do())
        except BaseException as error:
            done.set_exception(error)

    todo.put(run)
    return done


class _Thread:
    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._todo: _Queue = queue.SimpleQueue()
        # A daemon: what is being loaded does not keep a process from ending.
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
        self._thread.start()

    def do(
        self, work: Callable[[], Result], meanwhile: Callable[[], None] = lambda: None
    ) -> Result:
        if threading.current_thread() is self._thread:
            return work()  # it would wait for itself
        asked: _Queue = queue.SimpleQueue()

        def run() -> Result:
            _this_thread.asked = asked
            try:
                return work()
            finally:
                asked.put(None)

        done = _put(self._todo, run)
        while True:
            try:
                do = asked.get(timeout=_MEANWHILE_EVERY_S)
            except queue.Empty:
                meanwhile()
                continue
            if do is None:
                return done.result()
            do()

    def _run(self) -> None:
        self._begin()
        while (do := self._todo.get()) is not None:
            do()


_starting = threading.Lock()
_started: dict[tuple[int, Callable[[], None]], _Thread] = {}


def _thread(begin: Callable[[], None]) -> _Thread:
    """Of this process: a fork has no threads of its parent."""
    with _starting:
        found = _started.get((os.getpid(), begin))
        if found is None:
            found = _started[os.getpid(), begin] = _Thread(begin)
        return found


def session_yields(niceness: int) -> None:
    """Where Linux shares the processor out among sessions first (sched(7), autogroup), the
    priorities of threads count within one only: the session of this process yields to others, for
    good. It must be its own; someone else's is left alone."""
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(niceness))


def give_memory_back() -> None:
    """Return to the system what was freed: glibc keeps the pieces of a dropped model."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
