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

_AUTOGROUP = Path("/proc/self/autogroup")

Result = TypeVar("Result")


def yield_to_others() -> None:
    """Of this thread, for good: without privilege, nobody takes a niceness back."""
    if sys.platform == "linux":  # elsewhere the niceness is the whole process's
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def at_low_priority(work: Callable[[], Result]) -> Result:
    """Do the work in a thread that yields to others, and wait for it; raises what it raises. It
    should not hold what others wait for, a transaction that writes for one.

    One thread does all such work of a process, one after the other: glibc gives each thread memory
    of its own to allocate from, and keeps it. With a new thread for each version that was loaded,
    it was now this piece of 16 MiB and now another that the version lay in.
    """
    return _thread().do(work)


class _Thread:
    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        # A daemon: what is being loaded does not keep a process from ending.
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], Result]) -> Result:
        if threading.current_thread() is self._thread:
            return work()  # it would wait for itself
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._todo.put(run)
        return done.result()

    def _run(self) -> None:
        yield_to_others()
        while True:
            self._todo.get()()


_starting = threading.Lock()
_started: dict[int, _Thread] = {}


def _thread() -> _Thread:
    """Of this process: a fork has no threads of its parent."""
    with _starting:
        found = _started.get(os.getpid())
        if found is None:
            found = _started[os.getpid()] = _Thread()
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
