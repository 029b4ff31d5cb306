"""Awaiting the end of a promotion. It may be looked at many times a second: as long as nothing has
changed a look costs next to nothing, as those who predict need the processor meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.registry import activations, latest, promotions
from core.registry.latest import Standing
from core.store.database import Database

_LOOK_EVERY_S = 0.03
# The workers move a promotion on, unless there are none.
_MOVE_ON_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    # When the version begins to answer; None: it does not.
    activate_at: float | None
    # Why it does not.
    error: str | None = None


class Awaited:
    def __init__(self, db: Database, promotion_id: int) -> None:
        self._db = db
        self._promotion_id = promotion_id
        self._standing = Standing()

    def look(self) -> Ended | None:
        """How it ended; None while it waits. Raises StoreError."""
        found = latest.refresh(self._db, self._standing)
        if found is self._standing:
            return None
        self._standing = found
        if found.waiting is not None and found.waiting.id == self._promotion_id:
            return None
        with self._db.read() as conn:
            activation = activations.of_promotion(conn, self._promotion_id)
            if activation is not None:
                return Ended(activation.activate_at)
            return Ended(None, promotions.promotion(conn, self._promotion_id).error)


def see_through(
    db: Database, promotion_id: int, meanwhile: Callable[[], None] = lambda: None
) -> Ended:
    """Wait until it has ended, and if all went well until its version answers. With no worker
    alive this moves it on. `meanwhile` is called at each look. Raises StoreError, and what that
    raises."""
    awaited = Awaited(db, promotion_id)
    moved_on_at = -math.inf
    while True:
        if time.monotonic() - moved_on_at >= _MOVE_ON_EVERY_S:
            promotions.move_on(db)
            moved_on_at = time.monotonic()
        ended = awaited.look()
        if ended is not None:
            time.sleep(max(0.0, (ended.activate_at or 0.0) - time.time()))
            return ended
        meanwhile()
        time.sleep(_LOOK_EVERY_S)
