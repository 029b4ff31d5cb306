"""Admission: how many images may be in flight in a worker, and until when a response is of use.

With more images in flight than a worker can score soon, every client would wait longer, and in the
end too long. So further requests are refused, and their clients may try again
(`service/api/request_middleware.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import DeadlineExceeded, Overloaded

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
# The seconds of an image are averaged over about so many images.
_NUM_AVERAGED = 20
# From so many images on the expected wait counts: a few slow images are no queue.
_MIN_QUEUE = 4
# Share of the client's timeout that may be planned for: estimates err, and the request was on its
# way for a while. A response that comes too late is wasted work.
_PLANNED = 0.5


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the client gives up. Made when its request arrives."""

    at: float
    timeout_ms: int

    @staticmethod
    def after(timeout_ms: int) -> Deadline:
        return Deadline(time.monotonic() + timeout_ms / 1000, timeout_ms)

    @property
    def remaining_s(self) -> float:
        return self.at - time.monotonic()

    def check(self) -> None:
        """Raises DeadlineExceeded."""
        if self.remaining_s <= 0:
            raise DeadlineExceeded(
                f"the input waited longer than the {self.timeout_ms:,} ms that the request allows "
                f"({TIMEOUT_HEADER}); allow more time, or send fewer inputs"
            )


class Admission:
    """Counts the images in flight of one event loop, which alone calls it."""

    def __init__(
        self, limit: int, max_wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.in_flight = 0
        self._limit = limit
        self._max_wait_s = max_wait_s
        self._on_change: Callable[[int], None] | None = None
        # From one image done to the next, while there is always one in flight.
        self._image_s = 0.0
        self._last_done_at = 0.0

    @property
    def expected_wait_s(self) -> float:
        """Of an image that arrives now, until it is done."""
        return self.in_flight * self._image_s

    def check(self, timeout_s: float | None = None) -> None:
        """Raises Overloaded if too many images are in flight, or if a further one would wait too
        long for a client that gives up after `timeout_s`."""
        if self.in_flight >= self._limit:
            self._refuse(f"the limit is {self._limit} (EVERGREEN_MAX_IN_FLIGHT)")
        longest_s, setting = self._max_wait_s, "EVERGREEN_MAX_WAIT_S"
        if timeout_s is not None:
            longest_s, setting = _PLANNED * timeout_s, f"{_PLANNED:.0%} of {TIMEOUT_HEADER}"
        if self.in_flight >= _MIN_QUEUE and self.expected_wait_s > longest_s:
            self._refuse(
                f"take about {self.expected_wait_s:.1f} s; the limit is {longest_s:g} s ({setting})"
            )

    def reserve(self, timeout_s: float | None = None, num_images: int = 1) -> Ticket:
        """Admit a request. Raises Overloaded as `check` does, however many images it has: a large
        request would wait for ever if there had to be room for all of it."""
        self.check(timeout_s)
        return Ticket(self, num_images)

    def on_change(self, callback: Callable[[int], None] | None) -> None:
        """From now on, call it with the number of images in flight whenever that changes."""
        self._on_change = callback

    def add(self, num_images: int) -> None:
        self.in_flight += num_images
        if self._on_change is not None and num_images:
            self._on_change(self.in_flight)

    def measure(self, num_images: int, started_at: float) -> None:
        """Learn from images that are done how long an image takes."""
        now = self.clock()
        image_s = (now - max(started_at, self._last_done_at)) / num_images
        weight = 1 - (1 - 1 / _NUM_AVERAGED) ** num_images
        self._image_s += weight * (image_s - self._image_s)
        self._last_done_at = now

    def _refuse(self, why: str) -> None:
        raise Overloaded(
            f"{self.in_flight} inputs are in flight here, and {why}; try again in a second, "
            "or add workers"
        )


class Ticket:
    """An admitted request. Its images count as in flight until the ticket is released."""

    def __init__(self, admission: Admission, num_images: int) -> None:
        self._admission = admission
        self._started_at = admission.clock()
        self._num_images = 0
        self.resize(num_images)

    def resize(self, num_images: int) -> None:
        """Set how many images the request has here; 0 while another worker predicts, or while each
        image has a ticket."""
        self._admission.add(num_images - self._num_images)
        self._num_images = num_images

    def of_one(self) -> Ticket:
        """A further one, for an image of a request whose images take turns: each counts while its
        turn lasts. It is admitted, as the request was."""
        return Ticket(self._admission, 1)

    def release(self) -> None:
        """The images are done. Further calls do nothing."""
        if self._num_images:
            self._admission.measure(self._num_images, self._started_at)
            self.resize(0)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
