"""Admission: how many images may be in work at once, and until when an answer is of use.

Beyond what a process can do in a moment, every further image would only make all wait longer, and
in the end all too long. So it is refused at once, with the word to come again
(`service/api/load_shedding.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from core.errors import DeadlineExceeded, Overloaded
from service import metrics

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
# How fast the estimate of an image's time follows: over about so many images.
_FOLLOWS = 20
# From so many on the estimate counts: a few slow ones say nothing of a queue.
_A_QUEUE = 4
# Of the time that a client allows, so much may be planned: estimates err, and it has waited a while
# before it was seen. What comes too late was work for nothing.
_PLANNED = 0.5


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the client will have given up; made as its request arrives."""

    at: float
    timeout_ms: int
    # For a client of another process, which looks again, tells it and counts it.
    is_shared: bool = False

    @staticmethod
    def after(timeout_ms: int) -> Deadline:
        return Deadline(time.monotonic() + timeout_ms / 1000, timeout_ms)

    def check(self) -> None:
        """Raises DeadlineExceeded."""
        if time.monotonic() >= self.at:
            if not self.is_shared:
                metrics.deadlines_exceeded.inc()
            raise DeadlineExceeded(
                f"the image waited longer than the {self.timeout_ms:,} ms that the request allows "
                f"({TIMEOUT_HEADER}); allow more, or send less at once"
            )


def of_allowed(seconds: float) -> float:
    """How long an answer may be expected to take for a client that waits so long."""
    return _PLANNED * seconds


class Place:
    """Of a request that is about to be admitted; left once, by whoever comes first."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self.is_held = True

    def leave(self) -> None:
        if self.is_held:
            self.is_held = False
            self._leave()


# Of the request that is answered in this context.
_place: ContextVar[Place | None] = ContextVar("place", default=None)


class Admission:
    """Of one event loop, which alone counts."""

    def __init__(
        self, limit: int, max_wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._in_work = 0
        self._tell: Callable[[int], None] | None = None
        # While there is always something to do, from one image done to the next.
        self._seconds_of_image = 0.0
        self._last_done_at = 0.0

    @property
    def in_line(self) -> int:
        """Images in work here before that of the request that is answered in this context."""
        place = _place.get()
        return self._in_work - (place is not None and place.is_held)

    @property
    def expected_wait_s(self) -> float:
        """Of an image that comes now, until it is done."""
        return self._in_work * self._seconds_of_image

    def check(self, allowed_s: float | None = None, *, is_shared: bool = False) -> None:
        """Raises Overloaded if too many are in work, or if it would take longer than is allowed."""
        why = self._too_much(allowed_s)
        if why is not None:
            if not is_shared:  # who asked for its client counts it, if it cannot either
                metrics.shed.inc()
            raise Overloaded(f"{why}; try again in a second, or add workers")

    def _too_much(self, allowed_s: float | None) -> str | None:
        if self._in_work >= self._limit:
            return (
                f"{self._in_work} images are in work here, and the limit is {self._limit} "
                "(EVERGREEN_MAX_IN_FLIGHT)"
            )
        longest_s, what = self._max_wait_s, "EVERGREEN_MAX_WAIT_S"
        if allowed_s is not None:
            longest_s, what = allowed_s, f"{_PLANNED:.0%} of {TIMEOUT_HEADER}"
        if self._in_work >= _A_QUEUE and self.expected_wait_s > longest_s:
            return (
                f"{self._in_work} images are in work here, which takes about "
                f"{self.expected_wait_s:.1f} s, and {longest_s:g} s is the limit ({what})"
            )
        return None

    def take_place(self, allowed_s: float | None) -> Place:
        """One image counts as in work until the request is admitted, or leaves. Raises
        Overloaded."""
        self.check(allowed_s)
        self._change(1)
        place = Place(lambda: self._change(-1))
        _place.set(place)
        return place

    def tell(self, tell: Callable[[int], None] | None) -> None:
        """From now on, whenever it changes, how many images are in work."""
        self._tell = tell

    @contextlib.contextmanager
    def admitted(
        self, count: int, deadline: Deadline | None = None, *, is_shared: bool = False
    ) -> Iterator[None]:
        """Work on so many images; `is_shared` if it is for a client of another process. Where there
        is room for one, there is for all of a request, or a large request would wait for an idle
        moment. Raises Overloaded."""
        place = _place.get()
        if place is not None and place.is_held:
            place.leave()
        else:
            allowed_s = None if deadline is None else of_allowed(deadline.at - self._clock())
            self.check(allowed_s, is_shared=is_shared)
        began = self._clock()
        self._change(count)
        try:
            yield
        finally:
            self._change(-count)
            now = self._clock()
            seconds = (now - max(began, self._last_done_at)) / count
            weight = 1 - (1 - 1 / _FOLLOWS) ** count
            self._seconds_of_image += weight * (seconds - self._seconds_of_image)
            self._last_done_at = now

    def go_elsewhere(self) -> None:
        """The request that is answered in this context is worked on by another process."""
        place = _place.get()
        if place is not None:
            place.leave()

    def _change(self, count: int) -> None:
        self._in_work += count
        if self._tell is not None:
            self._tell(self._in_work)
