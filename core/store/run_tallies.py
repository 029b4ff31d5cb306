"""How many runs have ended, by outcome and duration: what a histogram is made of.

A run is counted in the transaction that ends it. So the tallies hold across restarts and with
several trainers, and reading them takes no longer after a year of runs.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from sqlalchemy import Connection, Executable, select
from sqlalchemy.dialects import postgresql, sqlite

from core.store.tables.tallies import run_tallies

BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, math.inf)


@dataclass(frozen=True, slots=True)
class RunTally:
    """Runs of one outcome that took `at_most_s`, and longer than the bucket before."""

    outcome: str
    at_most_s: float
    runs: int
    # All of them together.
    seconds: float


def count(conn: Connection, outcome: str, seconds: float) -> None:
    """Add a run. `outcome` is also the state of a run that did not finish: failed, cancelled."""
    at_most_s = next(limit for limit in BUCKETS_S if seconds <= limit)
    row = {"outcome": outcome, "at_most_s": at_most_s, "runs": 1, "seconds": seconds}
    conn.execute(_add(conn.dialect.name), row)


def read(conn: Connection) -> list[RunTally]:
    return [RunTally(*row) for row in conn.execute(select(run_tallies))]


@functools.cache
def _add(dialect_name: str) -> Executable:
    """Add to the row, or insert it."""
    new = (sqlite if dialect_name == "sqlite" else postgresql).insert(run_tallies)
    statement: Executable = new.on_conflict_do_update(
        index_elements=["outcome", "at_most_s"],
        set_={
            "runs": run_tallies.c.runs + new.excluded.runs,
            "seconds": run_tallies.c.seconds + new.excluded.seconds,
        },
    )
    return statement
