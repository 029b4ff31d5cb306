"""The threads that predict, and how many of them run at once.

Two that share a core take twice as long each, and the slowest wait longest. So the second thread
of a process takes work only while a core of the machine is free, as far as its processes tell each
other (`service/board.py`), or while there is more to do here than elsewhere: connections stay with
a process, and the cores go where they are needed. The first thread always takes work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from service.board import Board

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")
# Until a core that another process left is seen to be free. A fraction of a prediction.
_LOOK_AGAIN_S = 0.005
_CLEARLY_MORE = 1.5


class Cores(Executor):
    """Work is begun in the order in which it came."""

    def __init__(
        self,
        num_threads: int,
        num_cores: int,
        name: str,
        board: Board | None,
    ) -> None:
        """Without a board, nobody knows of the other processes, and all threads work."""
        self._num_cores = num_cores
        self._board = board
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = 0
        self._is_ending = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{i}", daemon=True)
            for i in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, fn: Callable[_Args, _Result], /, *args: _Args.args, **kwargs: _Args.kwargs
    ) -> Future[_Result]:
        future: Future[_Result] = Future()

        def do() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        with self._changed:
            if self._is_ending:
                raise RuntimeError("the server is stopping; try again in a moment")
            self._waiting.append(do)
            self._tell()
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """What was submitted is still done."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (do := self._next()) is not None:
            do()
            del do  # what it holds is not to live until there is more
            with self._changed:
                self._count(-1)

    def _next(self) -> Callable[[], None] | None:
        """None: there is no more, and there will be none."""
        with self._changed:
            while True:
                if self._waiting and self._may_begin():
                    do = self._waiting.popleft()
                    self._count(1)
                    return do
                if self._is_ending and not self._waiting:
                    return None
                self._changed.wait(_LOOK_AGAIN_S if self._waiting else None)

    def _may_begin(self) -> bool:
        if not self._running or self._board is None:
            return True
        mine = self._running, len(self._waiting)
        return may_begin(mine, self._board.elsewhere(), self._num_cores)

    def _count(self, change: int) -> None:
        self._running += change
        self._tell()

    def _tell(self) -> None:
        if self._board is not None:
            self._board.tell(self._running, len(self._waiting))


def may_begin(mine: tuple[int, int], elsewhere: Sequence[tuple[int, int]], num_cores: int) -> bool:
    """Whether one more thread is to work here: if a core is free, or if there is clearly more to do
    here than in the others on average. Each: how much runs and waits."""
    if mine[0] + sum(running for running, _ in elsewhere) < num_cores:
        return True
    others = sum(map(sum, elsewhere)) / max(1, len(elsewhere))
    return sum(mine) > _CLEARLY_MORE * others + 1
