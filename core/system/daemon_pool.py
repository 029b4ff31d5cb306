"""Threads for work that may hang for ever: they never keep the process from ending.

The standard library's ThreadPoolExecutor joins its threads when the interpreter exits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar, TypeVarTuple

Args = TypeVarTuple("Args")
Result = TypeVar("Result")


class DaemonPool:
    def __init__(self, num_threads: int, name: str) -> None:
        """The threads start with the first work."""
        self._num_threads = num_threads
        self._name = name
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._has_started = False
        self._starting = threading.Lock()

    def submit(self, work: Callable[[*Args], Result], *args: *Args) -> Future[Result]:
        """Have a thread do the work. The result can be cancelled until it begins."""
        self._start()
        done: Future[Result] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(work(*args))
            except BaseException as error:
                done.set_exception(error)

        self._todo.put(run)
        return done

    def _start(self) -> None:
        with self._starting:
            if self._has_started:
                return
            self._has_started = True
        for _ in range(self._num_threads):
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            self._todo.get()()
