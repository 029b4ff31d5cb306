"""Admission: how many images may be in work at once, and until when an answer is of use.

Beyond what a process can do in a moment, every further image would only make all wait longer, and
in the end all too long. So it is refused at once, with the word to come again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import DeadlineExceeded, Overloaded
from service import metrics


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the client will have given up; made as its request arrives."""

    at: float
    timeout_ms: int

    @staticmethod
    def after(timeout_ms: int) -> Deadline:
        return Deadline(time.monotonic() + timeout_ms / 1000, timeout_ms)

    def check(self) -> None:
        """Raises DeadlineExceeded."""
        if time.monotonic() >= self.at:
            metrics.deadlines_exceeded.inc()
            raise DeadlineExceeded(
                f"the image waited longer than the {self.timeout_ms:,} ms that the request allows "
                "(X-Request-Timeout-Ms); allow more, or send less at once"
            )


class Admission:
    """Of one event loop, which alone counts."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_work = 0

    def check(self) -> None:
        """Raises Overloaded. Asked before a body is read, it spares the reading."""
        if self._in_work >= self._limit:
            metrics.shed.inc()
            raise Overloaded(
                f"{self._in_work} images are in work here, and the limit is {self._limit} "
                "(EVERGREEN_MAX_IN_FLIGHT); try again in a second, or add workers"
            )

    @contextlib.contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Work on so many images. Where there is room for one, there is for all of a request, or
        a large request would wait for an idle moment. Raises Overloaded."""
        self.check()
        self._in_work += count
        try:
            yield
        finally:
            self._in_work -= count
