"""Forwarding: an image that would wait here goes to a worker of the same server that is less busy.

A connection stays with the worker that accepted it. So one worker may have several images queued
while another has none. Each writes into the load table how many images it has in flight. A busy
worker sends an image to the least busy peer, and passes on that peer's response. Sender-initiated,
to the shortest queue: Eager, Lazowska and Zahorjan, "Adaptive load sharing in homogeneous
distributed systems", IEEE TSE SE-12 (1986).

If anything goes wrong on the way, the image is predicted here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from pathlib import Path

from core.errors import EvergreenError
from service import metrics
from service.traffic.admission import Admission, Deadline, Ticket
from service.traffic.load_table import LoadTable
from service.traffic.peer import Peer, Predict, listen, serve

# A stuck peer is given up after so long. Its heartbeat is too old by then.
_TIMEOUT_S = 5.0
# A peer that is busy too must have so many times fewer images in flight. Between long queues, a
# place or two is not worth the way.
_TIMES_FEWER = 2
# How often the load table is read for live peers, and the own heartbeat is written.
_HEARTBEAT_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForwardedAnswer:
    body: bytes
    # The process that predicted.
    pid: int


class Forwarder:
    """Of one event loop."""

    def __init__(
        self,
        table: LoadTable,
        admission: Admission,
        predict: Predict,
        max_parallel: int,
        max_bytes: int,
    ) -> None:
        """With `max_parallel` images in flight here, a further one would wait."""
        self._table = table
        self._admission = admission
        self._predict = predict
        self._max_parallel = max_parallel
        self._max_bytes = max_bytes
        self._peers: dict[int, Peer] = {}
        self._refreshed_at = -_HEARTBEAT_S
        self._server: asyncio.Server | None = None
        self._heartbeat: asyncio.Task[None] | None = None
        self._connections: set[StreamWriter] = set()
        self._is_stopped = False

    async def start(self) -> bool:
        """Listen to the peers. False if there can be no socket: then nothing is forwarded."""
        try:
            listening = listen(self._table.socket_path(self._table.own_row))
        except OSError as error:
            log.warning("forwarding.unavailable", extra={"error": str(error)})
            return False
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listening, limit=self._max_bytes
        )
        self._admission.on_change(self._table.write_in_flight)
        self._heartbeat = asyncio.create_task(self._send_heartbeats())
        return True

    async def stop(self) -> None:
        """A peer that waits for a response sees the connection end, and predicts by itself."""
        self._is_stopped = True  # requests in flight no longer read the load table
        self._admission.on_change(None)
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        if self._server is not None:
            self._server.close()
            Path(self._table.socket_path(self._table.own_row)).unlink(missing_ok=True)
        for writer in self._connections:
            writer.close()
        for peer in self._peers.values():
            peer.close()

    async def try_forward(
        self, image: bytes, ticket: Ticket, deadline: Deadline | None, top: int
    ) -> ForwardedAnswer | None:
        """Have a less busy peer predict. None if there is none, or it cannot: predict here."""
        peer = self._less_busy_peer()
        if peer is None:
            return None
        ticket.resize(0)
        body = b""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                body = await peer.request(image, deadline, top)
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            log.warning("forwarding.failed", extra={"pid": peer.pid, "error": repr(error)})
            if self._peers.get(peer.row) is peer:  # and not its successor in that row
                self._forget(peer.row)
        if not body:
            ticket.resize(1)
            return None
        metrics.forwarded.inc()
        return ForwardedAnswer(body, peer.pid)

    def _less_busy_peer(self) -> Peer | None:
        queue_length = self._admission.in_flight - 1  # before this image
        if queue_length < self._max_parallel or self._is_stopped:
            return None
        now = time.monotonic()
        if now - self._refreshed_at >= _HEARTBEAT_S:
            self._refreshed_at = now
            self._refresh_peers()
        least_busy, fewest = None, max(self._max_parallel, queue_length // _TIMES_FEWER + 1)
        for peer in self._peers.values():
            # A stuck peer does not write what it was sent.
            in_flight = max(self._table.in_flight(peer.row), peer.num_requests)
            if in_flight < fewest:
                least_busy, fewest = peer, in_flight
        return least_busy

    def _refresh_peers(self) -> None:
        pids = self._table.peers()
        for row, peer in list(self._peers.items()):
            if pids.get(row) != peer.pid:
                self._forget(row)
        for row in pids.keys() - self._peers.keys():
            path = self._table.socket_path(row)
            self._peers[row] = Peer(row, pids[row], path, self._max_bytes)

    def _forget(self, row: int) -> None:
        peer = self._peers.pop(row, None)
        if peer is not None:
            peer.close()

    async def _send_heartbeats(self) -> None:
        while True:
            self._table.write_heartbeat()
            await asyncio.sleep(_HEARTBEAT_S)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await serve(reader, writer, self._predict_for_peer)
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _predict_for_peer(self, image: bytes, deadline: Deadline | None, top: int) -> bytes:
        """Refuse with an empty body: the peer predicts the image, and tells its client why not."""
        try:
            with self._admission.reserve(None if deadline is None else deadline.remaining_s):
                return await self._predict(image, deadline, top)
        except EvergreenError:
            return b""
        except Exception:
            log.exception("forwarding.error")
            return b""
