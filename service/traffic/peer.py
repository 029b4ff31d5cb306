"""How one worker asks another to predict: a request and its response on a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from service.traffic.admission import Deadline

# The body of the response to an image, with a deadline and the number of classes to list. It is
# empty if the image was refused or failed.
Predict = Callable[[bytes, Deadline | None, int], Awaitable[bytes]]

# Bytes of the image, classes to list, time of the deadline (by the clock that all processes of a
# machine share) and its ms; 0 ms: no deadline.
_REQUEST = struct.Struct("=QIdI")
# Bytes of the response.
_RESPONSE = struct.Struct("=Q")


class Peer:
    """Another worker: its row in the load table, and connections to it that are idle."""

    def __init__(self, row: int, pid: int, path: str, max_bytes: int) -> None:
        self.row = row
        self.pid = pid
        self.num_requests = 0
        self._path = path
        self._max_bytes = max_bytes
        self._idle: list[tuple[StreamReader, StreamWriter]] = []
        self._is_closed = False

    async def request(self, image: bytes, deadline: Deadline | None, top: int) -> bytes:
        """The body of the response; empty if the peer has refused. Raises OSError, EOFError."""
        at, timeout_ms = (deadline.at, deadline.timeout_ms) if deadline else (0.0, 0)
        self.num_requests += 1
        try:
            async with self._connection() as (reader, writer):
                writer.write(_REQUEST.pack(len(image), top, at, timeout_ms))
                writer.write(image)
                (size,) = _RESPONSE.unpack(await reader.readexactly(_RESPONSE.size))
                return await reader.readexactly(size)
        finally:
            self.num_requests -= 1

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
        """A connection for one request. It is kept unless the request fails."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=self._max_bytes)
        is_answered = False
        try:
            yield reader, writer
            is_answered = True
        finally:
            if is_answered and not self._is_closed:
                self._idle.append((reader, writer))
            else:  # the next request would read the response to this one
                writer.close()

    def close(self) -> None:
        self._is_closed = True
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


async def serve(reader: StreamReader, writer: StreamWriter, predict: Predict) -> None:
    """Answer the requests of a peer's connection, one after another, until it ends."""
    with contextlib.suppress(OSError, EOFError):
        while True:
            header = await reader.readexactly(_REQUEST.size)
            size, top, at, timeout_ms = _REQUEST.unpack(header)
            image = await reader.readexactly(size)
            deadline = Deadline(at, timeout_ms) if timeout_ms else None
            body = await predict(image, deadline, top)
            writer.write(_RESPONSE.pack(len(body)) + body)
            await writer.drain()


def listen(path: str) -> socket.socket:
    """Raises OSError."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        Path(path).unlink(missing_ok=True)  # of a killed worker that had this row
        os.fchmod(listening.fileno(), 0o600)
        listening.bind(path)
    except OSError:
        listening.close()
        raise
    return listening
