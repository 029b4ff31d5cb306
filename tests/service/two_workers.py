"""Two processes of a server, as far as they can tell, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from service.traffic.admission import Admission, Deadline, Ticket
from service.traffic.forwarding import Answering, Shared, Sharing
from service.traffic.load_table import Board

PID = 4711
IMAGE = b"an image"
_WITHIN_S = 30.0


@dataclasses.dataclass
class Side:
    """Of one of the two."""

    board: Board
    admission: Admission
    sharing: Sharing

    async def elsewhere(
        self, image: bytes = IMAGE, deadline: Deadline | None = None, top: int = 5
    ) -> Shared | None:
        async with asyncio.timeout(_WITHIN_S):
            with Ticket(self.admission, 1) as ticket:
                return await self.sharing.elsewhere(image, ticket, deadline, top)


async def echo(image: bytes, deadline: Deadline | None, top: int) -> bytes:
    return b"%d of %s" % (top, image)


async def never(image: bytes, deadline: Deadline | None, top: int) -> bytes:
    await asyncio.sleep(_WITHIN_S)
    return b"late"


@contextlib.asynccontextmanager
async def side(path: Path, place: int, answer: Answering) -> AsyncIterator[Side]:
    board = Board(path)
    # Locks are of a process: here, the place is taken by saying so.
    board.mine = place
    admission = Admission(64, 60.0)
    sharing = await Sharing.start(board, admission, answer, at_once=1, max_bytes=10_000_000)
    assert sharing is not None
    # It would write the pid of this process over that which `between` makes up.
    assert sharing._alive is not None
    sharing._alive.cancel()
    board.write_alive()
    try:
        yield Side(board, admission, sharing)
    finally:
        await sharing.stop()
        board.close()


def between(
    path: Path,
    scenario: Callable[[Side, Side], Awaitable[None]],
    answer: Answering = echo,
    pid: int = PID,
) -> None:
    """Run a scenario of this process and another one, which answers with `answer`."""

    async def run() -> None:
        async with side(path, 0, never) as here, side(path, 7, answer) as there:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("os.getpid", lambda: pid)
                there.board.write_alive()
            await scenario(here, there)

    asyncio.run(run())
