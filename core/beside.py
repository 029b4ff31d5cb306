"""Work beside answering: it takes what processor time is left, and gives its memory back."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from core.priority import be_idle, yield_to_others

_MEANWHILE_EVERY_S = 1.0
# Work starved that waited for a core for so many seconds, and so many times as long as it computed.
_STARVED_S = 1.0
_STARVED_TIMES = 4.0
_STARVED_FOR_S = 60.0

Result = TypeVar("Result")


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
    whoever waits for the interpreter's lock with it: for processes that answer nobody. Where that
    was so for seconds, what comes in the next minute is at low priority instead.

    What others wait for it has done by `at_normal_priority`. `meanwhile` is called every second by
    the thread that waits, and must not raise.
    """
    idle = _thread(be_idle)
    return (_thread(yield_to_others) if idle.is_starved else idle).do(work, meanwhile)


def at_normal_priority(do: Callable[[], Result]) -> Result:
    """Called from such work, have this done by the thread that waits for the work, and wait for it;
    raises what it raises. Anywhere else, just do it."""
    asked: _Queue | None = getattr(_this_thread, "asked", None)
    return do() if asked is None else _put(asked, do).result()


_Queue = queue.SimpleQueue[Callable[[], None]]
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
        self._starved_at = -math.inf
        # A daemon: what is being loaded does not keep a process from ending.
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
        self._thread.start()

    def do(
        self, work: Callable[[], Result], meanwhile: Callable[[], None] = lambda: None
    ) -> Result:
        if hasattr(_this_thread, "asked"):
            return work()  # such work itself, which would wait for itself
        asked: _Queue = queue.SimpleQueue()

        def run() -> Result:
            _this_thread.asked = asked
            before = _times_s()
            try:
                return work()
            finally:
                self._note(before)

        done = _put(self._todo, run)
        done.add_done_callback(lambda _: asked.put(lambda: None))  # wakes who waits
        while not done.done():
            try:
                asked.get(timeout=_MEANWHILE_EVERY_S)()
            except queue.Empty:
                meanwhile()
        return done.result()

    @property
    def is_starved(self) -> bool:
        """It waited for a core for seconds, not long ago, and for longer than it computed."""
        return time.monotonic() - self._starved_at < _STARVED_FOR_S

    def _note(self, before: tuple[float, float]) -> None:
        computed_s, waited_s = (now - then for now, then in zip(_times_s(), before, strict=True))
        if waited_s > max(_STARVED_S, _STARVED_TIMES * computed_s):
            self._starved_at = time.monotonic()

    def _run(self) -> None:
        self._begin()
        while True:
            self._todo.get()()


def _times_s() -> tuple[float, float]:
    """How long this thread has computed, and waited for a core (Linux; elsewhere nothing)."""
    try:
        computed, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
    except OSError:
        return 0.0, 0.0
    return int(computed) / 1e9, int(waited) / 1e9


_starting = threading.Lock()
_started: dict[tuple[int, Callable[[], None]], _Thread] = {}


def _thread(begin: Callable[[], None]) -> _Thread:
    """Of this process: a fork has no threads of its parent."""
    with _starting:
        found = _started.get((os.getpid(), begin))
        if found is None:
            found = _started[os.getpid(), begin] = _Thread(begin)
        return found


def give_memory_back() -> None:
    """Return to the system what was freed: glibc keeps the pieces of a dropped model."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
