"""The quotas of keys, counted in this process.

A quota is a sliding window, as most limiters count it: what was spent in this period, and a falling
share of what was spent in the one before. The library `limits` does the same, but starts a thread
for nearly every request, which costs a prediction 5 %; this costs it nothing measurable.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from starlette.types import Message, Receive

from core.access import quotas
from core.access.keys import Key
from core.access.quotas import Quota
from core.errors import QuotaExceeded

_REQUESTS = "requests"
_BYTES = "bytes"


@dataclass(slots=True)
class _Window:
    quota: Quota
    # The number of the period that `spent` is of.
    period: int = 0
    spent: float = 0
    spent_before: float = 0

    def used(self, now: float) -> float:
        period, part = divmod(now / self.quota.per_s, 1)
        if period != self.period:
            self.spent_before = self.spent if period == self.period + 1 else 0
            self.spent, self.period = 0, int(period)
        return self.spent + self.spent_before * (1 - part)

    def wait_s(self, now: float) -> int:
        """Until the next period, when less counts."""
        return math.ceil(self.quota.per_s - now % self.quota.per_s) or 1


class Quotas:
    """Of one event loop. It has at most two windows for each key that was ever used."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], _Window] = {}

    def spend(self, key: Key, num_bytes: int) -> None:
        """Count a request with so many bytes. Raises QuotaExceeded, and then counts nothing."""
        now = time.time()
        amounts = {
            _REQUESTS: 1 if key.request_quota else 0,
            _BYTES: num_bytes if key.byte_quota else 0,
        }
        spent = [(self._window(key, what), what, n) for what, n in amounts.items() if n]
        for window, what, amount in spent:
            if window.used(now) + amount > window.quota.amount:
                raise _exceeded(window, what, now)
        for window, _, amount in spent:
            window.spent += amount

    def counting(self, key: Key, receive: Receive) -> Receive:
        """Count a body whose length was not announced, as it comes. Once too much has come, the
        next request is refused."""

        async def receive_and_count() -> Message:
            message = await receive()
            window = self._window(key, _BYTES)
            window.used(time.time())  # of this period
            window.spent += len(message.get("body", b""))
            return message

        return receive_and_count

    def _window(self, key: Key, what: str) -> _Window:
        window = self._windows.get((key.id, what))
        if window is None:
            text = key.request_quota if what == _REQUESTS else key.byte_quota
            parse = quotas.parse_requests if what == _REQUESTS else quotas.parse_bytes
            window = self._windows[key.id, what] = _Window(parse(text or ""))
        return window


def _exceeded(window: _Window, what: str, now: float) -> QuotaExceeded:
    quota, wait_s = window.quota, window.wait_s(now)
    return QuotaExceeded(
        f"the key may send {quota.amount:,} {what} in {quota.per_s:,} s, and has; try again in "
        f"{wait_s:,} s, or ask for a key with a larger quota",
        wait_s,
    )
