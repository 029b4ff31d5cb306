"""Sharing: an image that would wait here goes to a process of the same server that has less to do.

A connection stays with the process that accepted it, so one may have several images in line while
another has none. Each says on the board how many it has in work (`service/traffic/load_table.py`).
One that is busy as an image comes sends it, over a Unix socket, to the least busy of the others, if
that can begin at once or has half as many at most, and passes the answer on. Sender-initiated, to
the shortest queue: Eager, Lazowska and Zahorjan, "Adaptive load sharing in homogeneous distributed
systems", IEEE TSE SE-12 (1986).

Whatever goes wrong on the way, the image is still here, and is answered here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import EvergreenError
from service import metrics
from service.traffic.admission import Admission, Deadline, Ticket
from service.traffic.load_table import Board

# The body of an answer to an image, until a deadline, with so many classes listed.
Answering = Callable[[bytes, Deadline | None, int], Awaitable[bytes]]

# Bytes of the image, classes to list, when the deadline is (by the clock that all processes of a
# machine share) and how many ms it was; no ms: there is none.
_ASKED = struct.Struct("=QIdI")
# Bytes of the answer; none if there is none: then who asked answers, and says what is wrong.
_ANSWERED = struct.Struct("=Q")
# So long a process may be stuck before it is given up. Its last word on the board is old by then.
_GIVE_UP_S = 5.0
# A process that is busy, too, must have so many times fewer in work. Where all have long lines, a
# place or two further on in another one is not worth the way there (`bench/RESULTS.md`).
_TIMES_FEWER = 2
# How often the board is read for who lives, and how often a process writes that it does.
_LOOK_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    body: bytes
    # The process that answered.
    pid: int


class Sharing:
    """Of one event loop."""

    def __init__(
        self, board: Board, admission: Admission, answer: Answering, at_once: int, max_bytes: int
    ) -> None:
        """`at_once` images are worked on at once here; one more would wait."""
        self._board = board
        self._admission = admission
        self._answer = answer
        self._at_once = at_once
        self._max_bytes = max_bytes
        self._others: dict[int, _Other] = {}
        self._looked_at = -_LOOK_S
        self._server: asyncio.Server | None = None
        self._alive: asyncio.Task[None] | None = None
        self._asking: set[StreamWriter] = set()
        self._is_stopped = False

    @staticmethod
    async def start(
        board: Board, admission: Admission, answer: Answering, at_once: int, max_bytes: int
    ) -> Sharing | None:
        """Listen to the others; None where there can be no socket."""
        sharing = Sharing(board, admission, answer, at_once, max_bytes)
        try:
            listening = _listening(board.socket_path(board.mine))
        except OSError as error:
            log.warning("sharing.impossible", extra={"error": str(error)})
            return None
        sharing._server = await asyncio.start_unix_server(
            sharing._serve, sock=listening, limit=max_bytes
        )
        admission.on_change(board.write_in_work)
        sharing._alive = asyncio.create_task(sharing._say_alive())
        return sharing

    async def stop(self) -> None:
        """Who still waits for an answer from here sees the connection end, and answers itself."""
        self._is_stopped = True  # what still is in work here does not look at the board again
        self._admission.on_change(None)
        if self._alive is not None:
            self._alive.cancel()
        if self._server is not None:
            self._server.close()
            Path(self._board.socket_path(self._board.mine)).unlink(missing_ok=True)
        for writer in self._asking:
            writer.close()
        for other in self._others.values():
            other.close()

    async def elsewhere(
        self, image: bytes, ticket: Ticket, deadline: Deadline | None, top: int
    ) -> Shared | None:
        """The answer of a process that has less to do; None if it is to be answered here."""
        other = self._less_busy()
        if other is None:
            return None
        ticket.resize(0)
        body = b""
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                body = await other.ask(image, deadline, top)
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            log.warning("sharing.failed", extra={"pid": other.pid, "error": repr(error)})
            if self._others.get(other.place) is other:  # and not who has its place by now
                self._forget(other.place)
        if not body:
            ticket.resize(1)
            return None
        metrics.shared.inc()
        return Shared(body, other.pid)

    def _less_busy(self) -> _Other | None:
        mine = self._admission.in_flight - 1  # before the image that asks
        if mine < self._at_once or self._is_stopped:
            return None
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            self._meet()
        found, fewest = None, max(self._at_once, mine // _TIMES_FEWER + 1)
        for other in self._others.values():
            # One that is stuck does not say that it was asked.
            in_work = max(self._board.in_work(other.place), other.num_asked)
            if in_work < fewest:
                found, fewest = other, in_work
        return found

    def _meet(self) -> None:
        living = self._board.pids()
        for place, other in list(self._others.items()):
            if living.get(place) != other.pid:
                self._forget(place)
        for place in living.keys() - self._others.keys():
            path = self._board.socket_path(place)
            self._others[place] = _Other(place, living[place], path, self._max_bytes)

    async def _say_alive(self) -> None:
        while True:
            self._board.write_alive()
            await asyncio.sleep(_LOOK_S)

    def _forget(self, place: int) -> None:
        other = self._others.pop(place, None)
        if other is not None:
            other.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One who asks, again and again."""
        self._asking.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError):
                while True:
                    size, top, at, timeout_ms = _ASKED.unpack(await reader.readexactly(_ASKED.size))
                    image = await reader.readexactly(size)
                    deadline = Deadline(at, timeout_ms) if timeout_ms else None
                    body = await self._answered(image, deadline, top)
                    writer.write(_ANSWERED.pack(len(body)) + body)
                    await writer.drain()
        finally:
            self._asking.discard(writer)
            writer.close()

    async def _answered(self, image: bytes, deadline: Deadline | None, top: int) -> bytes:
        try:
            with self._admission.reserve(None if deadline is None else deadline.remaining_s):
                return await self._answer(image, deadline, top)
        except EvergreenError:
            return b""
        except Exception:
            log.exception("sharing.unexpected")
            return b""


class _Other:
    """Another process: its place on the board, and connections to it that nobody uses just now."""

    def __init__(self, place: int, pid: int, path: str, max_bytes: int) -> None:
        self.place = place
        self.pid = pid
        self._path = path
        self._max_bytes = max_bytes
        self._idle: list[tuple[StreamReader, StreamWriter]] = []
        self._is_closed = False
        self.num_asked = 0

    async def ask(self, image: bytes, deadline: Deadline | None, top: int) -> bytes:
        """Empty if it could not answer. Raises OSError, EOFError."""
        at, timeout_ms = (deadline.at, deadline.timeout_ms) if deadline else (0.0, 0)
        self.num_asked += 1
        try:
            async with self._connection() as (reader, writer):
                writer.write(_ASKED.pack(len(image), top, at, timeout_ms))
                writer.write(image)
                (size,) = _ANSWERED.unpack(await reader.readexactly(_ANSWERED.size))
                return await reader.readexactly(size)
        finally:
            self.num_asked -= 1

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
        """Nobody else's until it is left, and kept unless something went wrong."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=self._max_bytes)
        is_whole = False
        try:
            yield reader, writer
            is_whole = True
        finally:
            if is_whole and not self._is_closed:
                self._idle.append((reader, writer))
            else:  # whoever came next would read an answer that is not for him
                writer.close()

    def close(self) -> None:
        self._is_closed = True
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


def _listening(path: str) -> socket.socket:
    """Raises OSError."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        Path(path).unlink(missing_ok=True)  # of one that had this place before, and was killed
        os.fchmod(listening.fileno(), 0o600)
        listening.bind(path)
    except OSError:
        listening.close()
        raise
    return listening
