"""The open streams of a process, and the one task that polls for all of them.

The task starts with the first stream and ends with the last. A client that reads slowly misses
states in between: it is sent the newest of each event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from core.errors import Overloaded
from core.system.daemon_pool import DaemonPool
from service.api.status import imports_feed
from service.api.status.feed import POLL_EVERY_S, Events, StatusFeed
from service.inference.serving_process import ServingProcess

MAX_STREAMS = 200
HEARTBEAT_EVERY_S = 15.0
HEARTBEAT = b": still here\n\n"
#: Within it, a stream ends whose key was revoked.
CHECK_ACCESS_EVERY_S = 2.0

log = logging.getLogger(__name__)

IsAdmitted = Callable[[], Awaitable[bool]]


class Stream:
    """What a client is to be sent next."""

    def __init__(self, is_admitted: IsAdmitted, sees_imports: bool, events: Events) -> None:
        self.is_admitted = is_admitted
        self.sees_imports = sees_imports
        self._events = dict(events)
        self._has_news = asyncio.Event()
        self._is_ended = False
        if events:
            self._has_news.set()

    def put(self, events: Events) -> None:
        """They take the place of older ones of their names."""
        if events:
            self._events |= events
            self._has_news.set()

    def end(self) -> None:
        """After what is there already."""
        self._is_ended = True
        self._has_news.set()

    async def take(self) -> bytes | None:
        """The next events, or a heartbeat if none comes for a while. None: it has ended."""
        try:
            await asyncio.wait_for(self._has_news.wait(), HEARTBEAT_EVERY_S)
        except TimeoutError:
            return HEARTBEAT
        if self._events:
            content = b"".join(self._events.values())
            self._events.clear()
            if not self._is_ended:
                self._has_news.clear()
            return content
        return None


class Streams:
    """Of one event loop."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self._newest: Events = {}
        self._polling: asyncio.Task[None] | None = None
        self._thread = DaemonPool(1, "stream")

    @property
    def is_polling(self) -> bool:
        return self._polling is not None and not self._polling.done()

    def open(
        self, serving: ServingProcess, is_admitted: IsAdmitted, *, sees_imports: bool = True
    ) -> Stream:
        """Raises Overloaded."""
        if len(self._open) >= MAX_STREAMS:
            raise Overloaded(
                f"this process has {MAX_STREAMS} streams open, which is the most; close one, try "
                "again, or poll /v1/status every few seconds instead"
            )
        if not self.is_polling:
            self._newest = {}
            self._polling = asyncio.create_task(self._poll(serving))
        stream = Stream(is_admitted, sees_imports, self._newest)
        self._open.add(stream)
        return stream

    def close(self, stream: Stream) -> None:
        self._open.discard(stream)
        if not self._open and self._polling is not None:
            self._polling.cancel()
            self._polling = None

    async def _poll(self, serving: ServingProcess) -> None:
        try:
            await self._poll_until_drain(serving)
        except Exception:  # clients connect again
            log.exception("stream.failed")
        # Not if it was cancelled: streams that were opened since belong to another task.
        for stream in self._open:
            stream.end()

    async def _poll_until_drain(self, serving: ServingProcess) -> None:
        feed = StatusFeed(serving)
        loop = asyncio.get_running_loop()
        check_at = loop.time() + CHECK_ACCESS_EVERY_S
        while True:
            self._publish(await asyncio.wrap_future(self._thread.submit(feed.poll)))
            if serving.drain.is_on:
                return
            if loop.time() >= check_at:
                check_at = loop.time() + CHECK_ACCESS_EVERY_S
                await self._end_those_not_admitted()
            await asyncio.sleep(POLL_EVERY_S)

    def _publish(self, events: Events) -> None:
        of_all = {k: v for k, v in events.items() if not k.startswith(imports_feed.PREFIX)}
        self._newest |= of_all
        for stream in self._open:
            stream.put(events if stream.sees_imports else of_all)

    async def _end_those_not_admitted(self) -> None:
        for stream in tuple(self._open):
            if not await stream.is_admitted():
                stream.end()
