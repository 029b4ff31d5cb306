"""Wait for a promotion to end. A poll costs next to nothing while nothing has changed, as
predictions need the CPU meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.registry import activations, promotions
from core.registry.latest import Latest, LatestPoller
from core.store.database import Database

_POLL_EVERY_S = 0.03


@dataclass(frozen=True, slots=True)
class PromotionResult:
    # When the version begins to serve; None: it does not.
    activate_at: float | None
    # Why it does not.
    error: str | None = None

    def remaining_s(self, now: float) -> float:
        """The time until the version serves. `now` is the earliest that it may be."""
        if self.activate_at is None:
            return 0.0
        return max(0.0, activations.effective_from(self.activate_at, now) - now)


class PromotionWaiter:
    def __init__(self, db: Database, promotion_id: int) -> None:
        self._db = db
        self._promotion_id = promotion_id
        self._poller = LatestPoller(db)
        self._latest: Latest | None = None

    def poll(self) -> PromotionResult | None:
        """Returns how it ended; None while it is pending. Raises StoreError."""
        before, self._latest = self._latest, self._poller.poll(is_certain=True)
        if self._latest is before:
            return None
        pending = self._latest.pending
        if pending is not None and pending.id == self._promotion_id:
            return None
        with self._db.read() as conn:
            activation = activations.by_promotion(conn, self._promotion_id)
            if activation is not None:
                return PromotionResult(activation.activate_at)
            return PromotionResult(None, promotions.promotion(conn, self._promotion_id).error)


def wait_for_promotion(
    db: Database,
    promotion_id: int,
    meanwhile: Callable[[], None] = lambda: None,
    *,
    advance_every_s: float = 0.5,
    wait_s: float = promotions.MAX_WAIT_S,
) -> PromotionResult:
    """Wait until the promotion has ended, and if it was activated until its version serves.

    The workers advance it; this does so every `advance_every_s`, in case that none is alive.
    `meanwhile` is called after each poll. Raises StoreError, and what `meanwhile` raises.
    """
    waiter = PromotionWaiter(db, promotion_id)
    advanced_at = -math.inf
    while True:
        if time.monotonic() - advanced_at >= advance_every_s:
            promotions.advance_committed(db, wait_s=wait_s)
            advanced_at = time.monotonic()
        result = waiter.poll()
        if result is not None:
            time.sleep(result.remaining_s(db.clock() - db.clock.error_s()))
            return result
        meanwhile()
        time.sleep(_POLL_EVERY_S)
