"""HTTP/1.1 as lightly as asyncio allows: requests built beforehand, and no more of an answer read
than a benchmark asks for. What the generator does not spend, the server on the same cores gets."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from typing import cast

from bench.images import Photo

STAMP_BYTES = 16
_BOUNDARY = b"evergreen-bench"
_WORKER = re.compile(rb'evergreen-worker:\s*(\d+)|"worker":\s*"?(\d+)')
_VERSION = re.compile(rb'"version":\s*(\d+)')


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out: the head and the body, and what follows the image in a form."""

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
        """The pid of the process that answered; 0 where it does not say."""
        found = _WORKER.search(self.head) or _WORKER.search(self.body)
        return int(found[1] or found[2]) if found else 0

    @property
    def version(self) -> int:
        found = _VERSION.search(self.body)
        return int(found[1]) if found else 0

    @property
    def retry_after_s(self) -> float:
        value = field(self.head, b"retry-after")
        return float(value) if value and value.isdigit() else 0.0

    @property
    def is_last(self) -> bool:
        return field(self.head, b"connection") == b"close"


def post(
    path: str,
    photo: Photo,
    *,
    form_field: str | None = None,
    timeout_ms: int | None = None,
    stamped: bool,
) -> Request:
    """The image as the raw body, or as a file in a form. Stamped, there is room for bytes that
    make each copy another file; decoders ignore what follows an image. With `timeout_ms` the server
    is told how long the client waits."""
    before, after, kind = b"", b"", photo.content_type.encode()
    if form_field is not None:
        before = b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="photo"\r\n' % (
            _BOUNDARY,
            form_field.encode(),
        )
        before += b"Content-Type: %s\r\n\r\n" % kind
        after = b"\r\n--%s--\r\n" % _BOUNDARY
        kind = b"multipart/form-data; boundary=%s" % _BOUNDARY
    length = len(before) + len(photo.content) + len(after) + (STAMP_BYTES if stamped else 0)
    fields = [b"POST %s HTTP/1.1" % path.encode(), b"Host: bench", b"Content-Type: %s" % kind]
    fields.append(b"Content-Length: %d" % length)
    if timeout_ms is not None:
        fields.append(b"X-Request-Timeout-Ms: %d" % timeout_ms)
    head = b"\r\n".join(fields) + b"\r\n\r\n"
    return Request(head + before, photo.content, after)


def stamp() -> bytes:
    return os.urandom(STAMP_BYTES)


def field(head: bytes, name: bytes) -> bytes | None:
    """`head` is in lower case and begins with the status line."""
    at = head.find(b"\r\n%s:" % name)
    if at < 0:
        return None
    start = at + len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


def parse(buffer: bytearray) -> Reply | None:
    """The answer, once all of it is there."""
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
    """One request at a time."""

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
        """Raises TimeoutError, ConnectionError; the connection is closed then."""
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
        # uvloop's own class is none of asyncio's.
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
