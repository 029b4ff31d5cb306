"""The quotas of keys, counted in this process."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import Message, Receive

from core.access import quotas
from core.access.keys import Key
from core.access.quotas import Quota
from core.errors import QuotaExceeded

_REQUESTS = "requests"
_BYTES = "bytes"


class Quotas:
    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def spend(self, key: Key, num_bytes: int) -> None:
        """Count a request with so many bytes. Raises QuotaExceeded."""
        if key.request_quota is not None:
            self._spend(key, _REQUESTS, quotas.parse_requests(key.request_quota), 1)
        if key.byte_quota is not None and num_bytes:
            self._spend(key, _BYTES, quotas.parse_bytes(key.byte_quota), num_bytes)

    def counting(self, key: Key, receive: Receive) -> Receive:
        """Count a body whose length was not announced, as it comes. Once too much has come, the
        next request is refused."""

        async def receive_and_count() -> Message:
            message = await receive()
            if num_bytes := len(message.get("body", b"")):
                assert key.byte_quota is not None
                item = _item(quotas.parse_bytes(key.byte_quota))
                # What is left, at most: the limiter takes all or nothing.
                left = self._limiter.get_window_stats(item, key.id, _BYTES).remaining
                self._limiter.hit(item, key.id, _BYTES, cost=min(num_bytes, max(left, 1)))
            return message

        return receive_and_count

    def _spend(self, key: Key, what: str, quota: Quota, amount: int) -> None:
        item = _item(quota)
        if self._limiter.hit(item, key.id, what, cost=amount):
            return
        reset_at = self._limiter.get_window_stats(item, key.id, what).reset_time
        wait_s = max(1, math.ceil(reset_at - time.time()))
        raise QuotaExceeded(
            f"the key may send {quota.amount:,} {what} in {quota.per_s:,} s, and has; try again in "
            f"{wait_s:,} s, or ask for a key with a larger quota",
            wait_s,
        )


def _item(quota: Quota) -> RateLimitItem:
    return RateLimitItemPerSecond(quota.amount, quota.per_s)
