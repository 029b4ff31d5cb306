"""Awaiting the end of a promotion. It may be looked at many times a second: as long as nothing has
changed a look costs next to nothing, as those who predict need the processor meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.registry import activations, latest, promotions
from core.registry.latest import Latest
from core.store.database import Database

_LOOK_EVERY_S = 0.03
# The workers move a promotion on, unless there are none.
_MOVE_ON_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class PromotionResult:
    # When the version begins to answer; None: it does not.
    activate_at: float | None
    # Why it does not.
    error: str | None = None


class PromotionWaiter:
    def __init__(self, db: Database, promotion_id: int) -> None:
        self._db = db
        self._promotion_id = promotion_id
        self._standing = Latest()

    def poll(self) -> PromotionResult | None:
        """How it ended; None while it waits. Raises StoreError."""
        found = latest.poll(self._db, self._standing)
        if found is self._standing:
            return None
        self._standing = found
        if found.pending is not None and found.pending.id == self._promotion_id:
            return None
        with self._db.read() as conn:
            activation = activations.of_promotion(conn, self._promotion_id)
            if activation is not None:
                return PromotionResult(activation.activate_at)
            return PromotionResult(None, promotions.promotion(conn, self._promotion_id).error)


def wait_for_promotion(
    db: Database, promotion_id: int, meanwhile: Callable[[], None] = lambda: None
) -> PromotionResult:
    """Wait until it has ended, and if all went well until its version answers. With no worker
    alive this moves it on. `meanwhile` is called at each look. Raises StoreError, and what that
    raises."""
    waiter = PromotionWaiter(db, promotion_id)
    moved_on_at = -math.inf
    while True:
        if time.monotonic() - moved_on_at >= _MOVE_ON_EVERY_S:
            promotions.advance_committed(db)
            moved_on_at = time.monotonic()
        ended = waiter.poll()
        if ended is not None:
            time.sleep(max(0.0, (ended.activate_at or 0.0) - time.time()))
            return ended
        meanwhile()
        time.sleep(_LOOK_EVERY_S)
