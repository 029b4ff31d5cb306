"""A minimal HTTP/1.1 client on asyncio, because the load generator shares the server's cores.

Requests are built before the load. Of an answer only the fields that a bench needs are parsed.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

STAMP_BYTES = 16
MAX_CONNECTIONS = 1000
# Servers close connections that were idle for 5 s. A request sent at that moment would be lost.
_IDLE_S = 4.0
_BOUNDARY = b"evergreen-bench"
_WORKER = re.compile(rb'evergreen-worker:\s*(\d+)|"worker":\s*"?(\d+)')
_VERSION = re.compile(rb'"version":\s*(\d+)')


class Body(Protocol):
    """A photo or a text."""

    @property
    def content(self) -> bytes: ...

    @property
    def content_type(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Request:
    """A request in three parts: the head, the body, and what follows an image in a form."""

    head: bytes
    content: bytes
    tail: bytes = b""

    def parts(self, stamp: bytes) -> bytes:
        return b"".join((self.head, self.content, stamp, self.tail))


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    head: bytes
    body: bytes

    @property
    def worker(self) -> int:
        """The pid of the process that answered, or 0 if the answer does not name it."""
        match = _WORKER.search(self.head) or _WORKER.search(self.body)
        return int(match[1] or match[2]) if match else 0

    @property
    def version(self) -> int:
        match = _VERSION.search(self.body)
        return int(match[1]) if match else 0

    @property
    def retry_after_s(self) -> float:
        value = field(self.head, b"retry-after")
        return float(value) if value and value.isdigit() else 0.0

    @property
    def is_last(self) -> bool:
        return field(self.head, b"connection") == b"close"


def post(
    path: str,
    body: Body,
    *,
    form_field: str | None = None,
    timeout_ms: int | None = None,
    stamped: bool,
) -> Request:
    """Build a request with the photo or text as its body, or as a file in a form.

    A stamped request has room for bytes after the image, which make each copy a different file.
    Decoders ignore them. `timeout_ms` becomes the header `X-Request-Timeout-Ms`.
    """
    before, after, kind = b"", b"", body.content_type.encode()
    if form_field is not None:
        before = b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="photo"\r\n' % (
            _BOUNDARY,
            form_field.encode(),
        )
        before += b"Content-Type: %s\r\n\r\n" % kind
        after = b"\r\n--%s--\r\n" % _BOUNDARY
        kind = b"multipart/form-data; boundary=%s" % _BOUNDARY
    length = len(before) + len(body.content) + len(after) + (STAMP_BYTES if stamped else 0)
    fields = [b"POST %s HTTP/1.1" % path.encode(), b"Host: localhost", b"Content-Type: %s" % kind]
    fields.append(b"Content-Length: %d" % length)
    if timeout_ms is not None:
        fields.append(b"X-Request-Timeout-Ms: %d" % timeout_ms)
    head = b"\r\n".join(fields) + b"\r\n\r\n"
    return Request(head + before, body.content, after)


def stamp() -> bytes:
    return os.urandom(STAMP_BYTES)


def field(head: bytes, name: bytes) -> bytes | None:
    """Return the value of a header field. `head` is in lower case, with the status line."""
    at = head.find(b"\r\n%s:" % name)
    if at < 0:
        return None
    start = at + len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


def parse(buffer: bytearray) -> Reply | None:
    """Parse the answer, or return None while it is incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[: end + 2]).lower()
    body_at = end + 4
    length = field(head, b"content-length")
    if length is not None:
        if len(buffer) < body_at + int(length):
            return None
    elif field(head, b"transfer-encoding") == b"chunked" and not buffer.endswith(b"0\r\n\r\n"):
        return None
    return Reply(int(head[9:12]), head, bytes(buffer[body_at:]))


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[Reply] | None = None
        self.used_at = 0.0

    @staticmethod
    async def open(port: int) -> Connection:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        return connection

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes, within_s: float) -> Reply:
        """Send a request and return the reply.

        Raises TimeoutError or ConnectionError, and then closes the connection.
        """
        if self._transport is None:
            raise ConnectionResetError("closed before the request was sent")
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._buffer.clear()
        self._transport.write(request)
        timer = loop.call_later(max(0.0, within_s), self._give_up)
        try:
            reply = await self._answer
        finally:
            timer.cancel()
        if reply.is_last:
            self.close()
        return reply

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The class of uvloop is not a subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._answer is not None and not self._answer.done():
            reply = parse(self._buffer)
            if reply is not None:
                self._answer.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("closed before an answer"))

    def _give_up(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TimeoutError())
            self.close()


class ConnectionPool:
    """Open connections to one port. Callers wait if `MAX_CONNECTIONS` are in use."""

    def __init__(self, port: int) -> None:
        self._port = port
        # Ordered by last use, so that all connections are used.
        self._idle: deque[Connection] = deque()
        self._num_open = 0
        self._waiting: deque[asyncio.Future[Connection]] = deque()

    async def acquire(self, until: float) -> Connection:
        """Return an idle or a new connection. Raises TimeoutError, OSError."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.is_open and time.monotonic() - connection.used_at < _IDLE_S:
                return connection
            connection.close()
            self._num_open -= 1
        async with asyncio.timeout(until - time.monotonic()):
            if self._num_open < MAX_CONNECTIONS:
                return await self.connect()
            free: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
            self._waiting.append(free)
            try:
                return await free
            except asyncio.CancelledError:
                if free.done() and not free.cancelled():
                    self.release(free.result())
                raise

    async def connect(self) -> Connection:
        """Return a new connection. Raises OSError."""
        self._num_open += 1
        try:
            return await Connection.open(self._port)
        except BaseException:
            self._num_open -= 1
            raise

    def release(self, connection: Connection) -> None:
        connection.used_at = time.monotonic()
        while self._waiting:
            free = self._waiting.popleft()
            if not free.done():
                free.set_result(connection)
                return
        self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
