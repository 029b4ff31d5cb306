"""Admission: how many images may be in work at once, and until when an answer is of use.

Beyond what a process can do in a moment, every further image would only make all wait longer, and
in the end all too long. So it is refused at once, with the word to come again: before its body is
read, and again when it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import DeadlineExceeded, Overloaded
from service import metrics, problems

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
_TIMEOUT_HEADER = TIMEOUT_HEADER.lower().encode()
# How fast the estimate of an image's time follows: over about so many images.
_FOLLOWS = 20
# From so many on the estimate counts: a few slow ones say nothing of a queue.
_A_QUEUE = 4


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
                f"({TIMEOUT_HEADER}); allow more, or send less at once"
            )


class Admission:
    """Of one event loop, which alone counts."""

    def __init__(
        self, limit: int, max_wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._in_work = 0
        self._requests = 0
        self._worked_s = 0.0
        self._changed_at = clock()
        # While there is always something to do, from one image done to the next.
        self._seconds_of_image = 0.0
        self._last_done_at = 0.0

    @property
    def worked_s(self) -> float:
        """Of all requests together, however many images each has; it grows by as many seconds in a
        second as requests are in work."""
        return self._worked_s + self._requests * (self._clock() - self._changed_at)

    @property
    def expected_wait_s(self) -> float:
        """Of an image that comes now, until it is done."""
        return self._in_work * self._seconds_of_image

    def check(self, allowed_s: float | None = None) -> None:
        """Raises Overloaded if too many are in work, or if it would take longer than is allowed."""
        if self._in_work >= self._limit:
            metrics.shed.inc()
            raise Overloaded(
                f"{self._in_work} images are in work here, and the limit is {self._limit} "
                "(EVERGREEN_MAX_IN_FLIGHT); try again in a second, or add workers"
            )
        longest_s = self._max_wait_s if allowed_s is None else allowed_s
        if self._in_work >= _A_QUEUE and self.expected_wait_s > longest_s:
            metrics.shed.inc()
            what = "EVERGREEN_MAX_WAIT_S" if allowed_s is None else TIMEOUT_HEADER
            raise Overloaded(
                f"{self._in_work} images are in work here, which takes about "
                f"{self.expected_wait_s:.1f} s, and {longest_s:g} s is the limit ({what}); try "
                "again in a second, or add workers"
            )

    @contextlib.contextmanager
    def admitted(self, count: int, deadline: Deadline | None = None) -> Iterator[None]:
        """Work on so many images. Where there is room for one, there is for all of a request, or
        a large request would wait for an idle moment. Raises Overloaded."""
        self.check(None if deadline is None else deadline.at - self._clock())
        began = self._clock()
        self._in_work += count
        self._count(1)
        try:
            yield
        finally:
            self._in_work -= count
            self._count(-1)
            now = self._clock()
            seconds = (now - max(began, self._last_done_at)) / count
            weight = 1 - (1 - 1 / _FOLLOWS) ** count
            self._seconds_of_image += weight * (seconds - self._seconds_of_image)
            self._last_done_at = now

    def _count(self, change: int) -> None:
        self._worked_s, self._changed_at = self.worked_s, self._clock()
        self._requests += change


class Shedding:
    """ASGI: refuse a prediction before anything is done for it, its body unread."""

    def __init__(self, app: ASGIApp, admission: Callable[[], Admission | None]) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        admission = self._admission() if predicts(scope) else None
        if admission is not None:
            try:
                admission.check(_allowed_s(scope))
            except Overloaded as error:
                await problems.of(error, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


def predicts(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    path: str = scope["path"]
    is_prediction = path == "/v1/predict" or (path.startswith("/v2/") and path.endswith("/infer"))
    return is_prediction and scope["method"] == "POST"


def _allowed_s(scope: Scope) -> float | None:
    for name, value in scope["headers"]:
        # What is no number is refused later, in words.
        if name == _TIMEOUT_HEADER and value.isdigit() and len(value) < 9:
            return int(value) / 1000
    return None
