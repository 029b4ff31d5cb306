"""The drain: what a worker does between SIGTERM and its end.

First it answers as before, but `/readyz` says 503, and each response closes its connection. So a
load balancer sends new requests elsewhere, and no connection ends between two requests. Then the
server takes no new connection, and finishes its requests in flight. All of it is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from types import FrameType

# For what the server does after its last response: it ends forwarding, and closes the database.
_CLOSE_WITHIN_S = 5.0

log = logging.getLogger(__name__)


class Drain:
    def __init__(self, unready_s: float, finish_within_s: float) -> None:
        """It is unready for `unready_s`. Its requests in flight have `finish_within_s` after that,
        or it is killed."""
        self.is_on = False
        self._unready_s = unready_s
        self.within_s = unready_s + finish_within_s + _CLOSE_WITHIN_S

    def install(self) -> None:
        """Handle SIGTERM. Called in the running event loop, once the server's handler is there."""
        loop = asyncio.get_running_loop()
        finish = signal.getsignal(signal.SIGTERM)

        def begin(number: int, frame: FrameType | None) -> None:
            if not callable(finish):
                return
            if self.is_on:  # a second signal: do not wait
                finish(number, frame)
                return
            self.is_on = True
            log.info("worker.draining", extra={"unready_s": self._unready_s})
            _kill_after(self.within_s)
            loop.call_soon_threadsafe(loop.call_later, self._unready_s, finish, number, frame)

        signal.signal(signal.SIGTERM, begin)


def _kill_after(seconds: float) -> None:
    def kill() -> None:
        log.error("worker.drain_timeout", extra={"after_s": seconds})
        os.kill(os.getpid(), signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
