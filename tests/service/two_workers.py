"""Two workers of a server, as far as they can tell, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from service.traffic.admission import Admission, Deadline, Ticket
from service.traffic.forwarding import ForwardedAnswer, Forwarder
from service.traffic.load_table import LoadTable
from service.traffic.peer import Predict

PID = 4711
IMAGE = b"an image"
_WITHIN_S = 30.0


@dataclasses.dataclass
class Side:
    """One of the two workers."""

    table: LoadTable
    admission: Admission
    forwarder: Forwarder

    async def try_forward(
        self, image: bytes = IMAGE, deadline: Deadline | None = None, top: int = 5
    ) -> ForwardedAnswer | None:
        async with asyncio.timeout(_WITHIN_S):
            with Ticket(self.admission, 1) as ticket:
                return await self.forwarder.try_forward(image, ticket, deadline, top)


async def echo(image: bytes, deadline: Deadline | None, top: int) -> bytes:
    return b"%d of %s" % (top, image)


async def never(image: bytes, deadline: Deadline | None, top: int) -> bytes:
    await asyncio.sleep(_WITHIN_S)
    return b"late"


@contextlib.asynccontextmanager
async def side(path: Path, row: int, predict: Predict) -> AsyncIterator[Side]:
    table = LoadTable(path)
    # Locks belong to a process, so both sides would claim the same row.
    table.own_row = row
    admission = Admission(64, 60.0)
    forwarder = Forwarder(table, admission, predict, max_parallel=1, max_bytes=10_000_000)
    assert await forwarder.start()
    # It would write the pid of this process over the one that `between` makes up.
    assert forwarder._heartbeat is not None
    forwarder._heartbeat.cancel()
    table.write_heartbeat()
    try:
        yield Side(table, admission, forwarder)
    finally:
        await forwarder.stop()
        table.close()


def between(
    path: Path,
    scenario: Callable[[Side, Side], Awaitable[None]],
    predict: Predict = echo,
    pid: int = PID,
) -> None:
    """Run a scenario of this worker and a peer, which predicts with `predict`."""

    async def run() -> None:
        async with side(path, 0, never) as here, side(path, 7, predict) as there:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("os.getpid", lambda: pid)
                there.table.write_heartbeat()
            await scenario(here, there)

    asyncio.run(run())
