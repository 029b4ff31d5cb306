"""The database's clock: every time in a row is by it, so machines whose clocks differ agree.

A process counts ticks of a clock that nobody sets, and adds the `epoch`: the database's time at
tick 0. So setting the clock of a machine changes no decision.

- PostgreSQL: the epoch is measured. The database reads its clock between two ticks; half of the
  time between them bounds the error (Cristian 1989). Of several tries the shortest counts.
- SQLite: all processes are of one machine and share its ticks. They share the epoch too, in a row.
  Once the machine's clock was set, they follow it as soon as nothing depends on the time.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, extract, func, insert, select, update

from core.store.schema import activations, clock, promotions, runs

# Where this machine's clock is further off, something is wrong with it.
MAX_OFFSET_S = 0.2
MAX_ERROR_S = 0.05
MEASURE_EVERY_S = 10.0
_NUM_TRIES = 4
# By this part, clocks that tick at their own rate part at most.
_DRIFT = 1e-4
# Processes of one machine compute the epoch from its clock with a smaller error.
_SAME_S = 0.05
# Nothing depends on the time of what is older.
_QUIET_S = 15.0
_MAX_PROMOTION_S = 600.0

_SERVER_TIME = select(extract("epoch", func.clock_timestamp()))
_STORED_EPOCH = select(clock.c.epoch)
_PENDING = select(promotions.c.created_at).where(promotions.c.state == "waiting")
_NEWEST_ACTIVATION = select(activations.c.created_at).order_by(activations.c.id.desc()).limit(1)
_RUNNING = select(runs.c.heartbeat_at).where(runs.c.state == "running")

log = logging.getLogger(__name__)


def ticks() -> float:
    """Seconds since the machine started. They go on while it sleeps, where the system has that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Offset(NamedTuple):
    """How far this machine's clock is ahead of the database's, and how wrong that may be."""

    seconds: float
    error_s: float

    @property
    def is_problem(self) -> bool:
        return abs(self.seconds) - self.error_s > MAX_OFFSET_S


class DatabaseClock:
    """Call it for the time. Until it is measured, it is the machine's own clock."""

    def __init__(
        self, wall: Callable[[], float] = time.time, ticks: Callable[[], float] = ticks
    ) -> None:
        self._wall = wall
        self._ticks = ticks
        self._epoch = self._own_epoch()
        self._error_s = math.inf
        self._measured_at = -math.inf
        self._logged_s = 0.0

    def __call__(self) -> float:
        return self._ticks() + self._epoch

    def error_s(self) -> float:
        """How wrong the time may be, as far as anyone waits for that. 0 on SQLite."""
        return min(self._may_be_off_s(), MAX_ERROR_S)

    def _may_be_off_s(self) -> float:
        if self._error_s == 0.0:
            return 0.0
        return self._error_s + (self._ticks() - self._measured_at) * _DRIFT

    @property
    def offset(self) -> Offset:
        error_s = 0.0 if math.isinf(self._error_s) else self._error_s
        return Offset(self._own_epoch() - self._epoch, error_s)

    @property
    def is_due(self) -> bool:
        """Whether PostgreSQL's clock is to be measured again."""
        return self._ticks() - self._measured_at >= MEASURE_EVERY_S

    def measure(self, conn: Connection) -> None:
        """Ask PostgreSQL for the time."""
        tries = []
        for _ in range(_NUM_TRIES):
            before = self._ticks()
            server = float(conn.execute(_SERVER_TIME).scalar_one())
            after = self._ticks()
            tries.append(((after - before) / 2, server - (before + after) / 2))
        error_s, epoch = min(tries)
        may_be_off_s = self._may_be_off_s()
        # A worse measure is ignored, unless the database's clock was set.
        if error_s <= may_be_off_s or abs(epoch - self._epoch) > error_s + may_be_off_s:
            self._epoch, self._error_s, self._measured_at = epoch, error_s, self._ticks()

    @property
    def is_in_step(self) -> bool:
        """Whether the epoch that the processes of SQLite share is followed, and still true."""
        return self._error_s == 0.0 and abs(self.offset.seconds) <= _SAME_S

    def follow_stored(self, conn: Connection) -> bool:
        """Follow the shared epoch. Returns whether a new one may be shared now."""
        stored = conn.execute(_STORED_EPOCH).scalar()
        if stored is None:
            return True
        self._epoch, self._error_s = stored, 0.0
        return not self.is_in_step and _is_quiet(conn, self())

    def share(self, conn: Connection) -> None:
        """Share the epoch of this machine's clock with all processes, if that may be."""
        if self.follow_stored(conn):
            epoch = self._own_epoch()
            if conn.execute(update(clock).values(epoch=epoch)).rowcount == 0:
                conn.execute(insert(clock).values(id=1, epoch=epoch))
            self._epoch, self._error_s = epoch, 0.0

    def log_offset(self) -> None:
        """Log an offset that is a problem: once, when it changes, and when it is over."""
        offset = self.offset
        if offset.is_problem and abs(offset.seconds - self._logged_s) > MAX_OFFSET_S:
            self._logged_s = offset.seconds
            log.warning(
                "clock.offset",
                extra={"offset_s": round(offset.seconds, 3), "limit_s": MAX_OFFSET_S},
            )
        elif self._logged_s and not offset.is_problem:
            self._logged_s = 0.0
            log.info("clock.in_step", extra={"offset_s": round(offset.seconds, 3)})

    def _own_epoch(self) -> float:
        while True:
            before = self._ticks()
            wall = self._wall()
            after = self._ticks()
            # Else the process was held up between them.
            if after - before < _SAME_S / 5:
                return wall - (before + after) / 2


def _is_quiet(conn: Connection, now: float) -> bool:
    """Whether no promotion, activation or run depends on the time."""
    spans = ((_PENDING, _MAX_PROMOTION_S), (_NEWEST_ACTIVATION, _QUIET_S), (_RUNNING, _QUIET_S))
    return not any(
        abs(now - (moment or 0.0)) < span_s
        for query, span_s in spans
        for moment in conn.execute(query).scalars()
    )
