"""The learning rates and the length of a run, as functions of plain values.

No torch, no clock, no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NoReturn

FINISHED = "finished"
EARLY_STOP = "early stop"
OUT_OF_TIME = "time"
CANCELLED = "cancelled"


class Interrupted(Exception):
    """The run must end here. `reason` is OUT_OF_TIME or CANCELLED."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TimeBudget:
    """The time of a run over all its attempts, which interrupts it when used up or cancelled."""

    def __init__(
        self,
        clock: Callable[[], float],
        limit_s: float | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._should_stop = should_stop
        self._began = clock()

    def resume(self, spent_s: float) -> None:
        """Add the time of earlier attempts."""
        self._began -= spent_s

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    @property
    def remaining_s(self) -> float | None:
        return None if self._limit_s is None else self._limit_s - self.seconds

    def check(self) -> None:
        """Raises Interrupted when cancelled or out of time."""
        self.check_cancelled()
        if self._limit_s is not None and self.seconds >= self._limit_s:
            self._interrupt(OUT_OF_TIME)

    def check_cancelled(self) -> None:
        """For work that every result needs, in time or not. Raises Interrupted when cancelled."""
        if self._should_stop is not None and self._should_stop():
            self._interrupt(CANCELLED)

    def _interrupt(self, reason: str) -> NoReturn:
        raise Interrupted(reason)


def lr_factor(progress: float, warmup: float) -> float:
    """Return the share of the full learning rate at `progress` (0 to 1) of the run.

    It rises linearly over the first `warmup` and then falls to 0 along half a cosine (Loshchilov
    and Hutter 2017, SGDR).
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def block_lrs(lr: float, decay: float, depth: int) -> list[float]:
    """Return the learning rate of each of the last `depth` blocks. The last block has `lr`.

    Layer-wise decay as in ULMFiT (Howard and Ruder 2018) and BEiT (Bao et al. 2022).
    """
    return [lr * decay ** (depth - 1 - i) for i in range(depth)]


def num_unfrozen(epoch: int, depth: int, unfreeze_every: int) -> int:
    """Return how many blocks, counted from the last, are trained in this epoch."""
    return depth if unfreeze_every == 0 else min(depth, 1 + epoch // unfreeze_every)


def plan_epochs(
    wanted: int,
    done: int,
    remaining_s: float | None,
    *,
    epoch_s: float,
    fill_s: float,
    fills_left: int,
) -> int:
    """Return how many epochs, `done` included, the run can have within the remaining time.

    A schedule whose learning rate reaches 0 within the budget beats a longer one that is cut off
    (Li et al. 2020, "Budgeted training"). The next `fills_left` epochs also fill a view of the
    cache.
    """
    if remaining_s is None:
        return wanted
    fitting = 0
    while done + fitting < wanted:
        remaining_s -= epoch_s + (fill_s if fitting < fills_left else 0.0)
        if remaining_s < 0:
            break
        fitting += 1
    return done + fitting
