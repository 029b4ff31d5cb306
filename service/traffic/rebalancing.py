"""Spreading clients over the serving processes of a machine.

All accept from one socket, and a connection stays with the process that accepted it: one may get
most clients, and is kept busy by handing on their images (`service/traffic/forwarding.py`). So each
says how many predictions its clients have in work on average (`service/traffic/load_table.py`). One
with clearly more than that with the fewest announces, with some of its answers, that it closes the
connection (RFC 9112, 9.6). These clients connect anew, mostly to a process that idles; no request
is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import metrics
from service.api.load_shedding import predicts
from service.traffic.admission import Admission
from service.traffic.load_table import Board

# Long against a prediction, short against a connection.
TICK_S = 0.5
# What differs by less is chance, or cannot be made more even by moving one client.
_MARGIN = 1.25
_MARGIN_OF_MINE = 0.1
CLOSE = (b"connection", b"close")


def too_many(mine: float, others: Sequence[float]) -> int:
    """How many clients should go elsewhere, by their predictions in work and those of others."""
    if not others or mine - min(others) <= max(_MARGIN, _MARGIN_OF_MINE * mine):
        return 0
    even = (mine + sum(others)) / (1 + len(others))
    return math.floor(mine - even + 0.5)


class Spread:
    """Of one event loop."""

    def __init__(
        self,
        admission: Admission,
        board: Board,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admission = admission
        self._board = board
        self._clock = clock
        self._looked_at = clock()
        self._worked_before = admission.worked_s
        self._to_close = 0
        self._has_closed = False
        self._task: asyncio.Task[None] | None = None

    @staticmethod
    def start(admission: Admission, board: Board) -> Spread:
        """Begin to look, in the running event loop."""
        spread = Spread(admission, board)
        spread.look()
        spread._task = asyncio.create_task(spread._run())
        return spread

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def look(self) -> None:
        """Say how busy its clients kept it since the last look, and see how busy the others are."""
        now, worked_s = self._clock(), self._admission.worked_s
        mine = (worked_s - self._worked_before) / max(now - self._looked_at, 1e-9)
        self._looked_at, self._worked_before = now, worked_s
        self._board.write(mine)
        # While clients were on their way, the average tells of before and after: one more look.
        self._to_close = 0 if self._has_closed else too_many(mine, self._board.others())
        self._has_closed = False

    def closes(self) -> bool:
        """Whether the connection of an answer that goes now is to be closed."""
        if not self._to_close:
            return False
        self._to_close -= 1
        self._has_closed = True
        metrics.moved.inc()
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.look()


class Spreading:
    """ASGI: announces with some answers to predictions that their connection closes."""

    def __init__(self, app: ASGIApp, spread: Callable[[], Spread | None]) -> None:
        self._app = app
        self._spread = spread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        spread = self._spread() if predicts(scope) else None
        if spread is None:
            await self._app(scope, receive, send)
            return

        async def announcing(message: Message) -> None:
            if message["type"] == "http.response.start" and spread.closes():
                message = {**message, "headers": [*message["headers"], CLOSE]}
            await send(message)

        await self._app(scope, receive, announcing)
