"""A thread for what reviewers ask for: such work takes tens of milliseconds of a core, so one
request at a time does it, and no other thread of the service waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from core.errors import Overloaded

_Result = TypeVar("_Result")
_MAX_WAITING = 32


class ReviewThread:
    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="review")
        self._num_waiting = 0

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Call it from the event loop. Raises Overloaded."""
        if self._num_waiting >= _MAX_WAITING:
            raise Overloaded(
                f"{self._num_waiting} requests for the queue or for neighbours wait already, and "
                "the limit is as many; try again in a second"
            )
        self._num_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._num_waiting -= 1
