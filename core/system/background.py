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
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TypeVar

from core.system.priority import be_idle, yield_to_others

_MEANWHILE_EVERY_S = 1.0
# Work starves that has waited for a core for so many seconds, and so many times as long as it has
# computed. Its thread is not asked again for a while.
_STARVED_S = 1.0
_STARVED_TIMES = 4.0
_STARVED_FOR_S = 60.0
# Where a promotion waits for it, that is known sooner, and forgotten sooner: now and then a server
# at 80 % has no idle moment for so long.
_PATIENCE_S = 0.4
_IMPATIENT_FOR_S = 5.0
_LOOK_EVERY_S = 0.05

Result = TypeVar("Result")


def run_low(work: Callable[[], Result]) -> Result:
    """Do the work in a thread that yields to others, and wait for it; raises what it raises. It
    should not hold what others wait for, a transaction that writes for one.

    One thread does all such work of a process, one after the other: glibc gives each thread memory
    of its own to allocate from, and keeps it. With a new thread for each version that was loaded,
    it was now this piece of 16 MiB and now another that the version lay in.
    """
    return _thread(yield_to_others).do(work)


def run_idle(work: Callable[[], Result], meanwhile: Callable[[], None] = lambda: None) -> Result:
    """Like `run_low`, but it stands still for as long as others keep all cores busy, and
    whoever waits for the interpreter's lock with it: for processes that answer nobody. Where that
    was so for seconds, what comes in the next minute is at low priority instead.

    What others wait for it has done by `call_back`. `meanwhile` is called every second by
    the thread that waits, and must not raise.
    """
    idle = _thread(be_idle)
    has_starved = idle.was_starved_within(_STARVED_FOR_S)
    return (_thread(yield_to_others) if has_starved else idle).do(work, meanwhile)


def run_idle_or_low(work: Callable[[], Result]) -> Result:
    """Like `run_idle`, for processes that answer: where others leave it too little, it is
    begun once more at low priority, and that is waited for.

    So it is work that may be done twice at once, asks for nothing `call_back`, and does
    most of what it does without the interpreter's lock. What holds that lock at idle priority holds
    up those who answer, but not for long: as they wait, their core is free for it.
    """
    if hasattr(_this_thread, "asked"):
        return work()
    idle = _thread(be_idle)
    if not idle.was_starved_within(_IMPATIENT_FOR_S):
        before = idle.times_s()
        begun = idle.begin(work)
        while not wait([begun], timeout=_LOOK_EVERY_S).done:
            if idle.starves(before, _PATIENCE_S):
                begun.cancel()  # if it has not begun
                break
        else:
            return begun.result()
    return _thread(yield_to_others).do(work)


def call_back(do: Callable[[], Result]) -> Result:
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
        if not done.set_running_or_notify_cancel():
            return
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
        done = self.begin(work, asked)
        done.add_done_callback(lambda _: asked.put(lambda: None))  # wakes who waits
        while not done.done():
            try:
                asked.get(timeout=_MEANWHILE_EVERY_S)()
            except queue.Empty:
                meanwhile()
        return done.result()

    def begin(self, work: Callable[[], Result], asked: _Queue | None = None) -> Future[Result]:
        """`asked` is where somebody does what the work wants done `call_back`."""

        def run() -> Result:
            _this_thread.asked = asked
            before = self.times_s()
            try:
                return work()
            finally:
                self.starves(before, _STARVED_S)

        return _put(self._todo, run)

    def was_starved_within(self, seconds: float) -> bool:
        """It waited for a core for long, not long ago, and for longer than it computed."""
        return time.monotonic() - self._starved_at < seconds

    def starves(self, before: tuple[float, float], patience_s: float) -> bool:
        """Whether it was so since then; if so, that is remembered."""
        computed_s, waited_s = (
            now - then for now, then in zip(self.times_s(), before, strict=True)
        )
        if waited_s <= max(patience_s, _STARVED_TIMES * computed_s):
            return False
        self._starved_at = time.monotonic()
        return True

    def times_s(self) -> tuple[float, float]:
        """How long the thread has computed, and waited for a core (Linux; elsewhere nothing)."""
        try:
            told = Path(f"/proc/self/task/{self._thread.native_id}/schedstat").read_text()
            computed, waited, _ = told.split()
        except OSError:
            return 0.0, 0.0
        return int(computed) / 1e9, int(waited) / 1e9

    def _run(self) -> None:
        self._begin()
        while True:
            self._todo.get()()


_starting = threading.Lock()
_started: dict[tuple[int, Callable[[], None]], _Thread] = {}


def _thread(begin: Callable[[], None]) -> _Thread:
    """Of this process: a fork has no threads of its parent."""
    with _starting:
        found = _started.get((os.getpid(), begin))
        if found is None:
            found = _started[os.getpid(), begin] = _Thread(begin)
        return found


def trim_memory() -> None:
    """Return to the system what was freed: glibc keeps the pieces of a dropped model."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
