from __future__ import annotations

import math

import pytest
from sqlalchemy import Connection

from core import leases, runs
from core.store import run_tallies
from core.store.database import Database
from core.store.run_tallies import RunTally
from core.store.store import Store
from tests.core.run_steps import LATE, NOW, claim, finish, request, start
from tests.support.concurrency import in_threads


@pytest.fixture
def db(store: Store) -> Database:
    return store.db


def read(db: Database) -> list[RunTally]:
    with db.read() as conn:
        return sorted(run_tallies.read(conn), key=lambda tally: (tally.outcome, tally.at_most_s))


@pytest.mark.parametrize(
    ("seconds", "at_most_s"),
    [(0.0, 0.5), (0.5, 0.5), (0.51, 1.0), (7200.0, 7200.0), (7201.0, math.inf), (-1.0, 0.5)],
)
def test_run_is_counted_in_the_bucket_of_its_duration(
    db: Database, seconds: float, at_most_s: float
) -> None:
    with db.write() as conn:
        run_tallies.count(conn, "promoted", seconds)
    assert read(db) == [RunTally("promoted", at_most_s, 1, seconds)]


def test_runs_add_up_by_outcome_and_duration(db: Database) -> None:
    for state, outcome in (("finished", "promoted"), ("finished", "promoted"), ("failed", None)):
        run = start(db)
        assert finish(db, run.id, state=state, outcome=outcome)
        assert not finish(db, run.id, state=state, outcome=outcome)
    # `end` ends a run 5 seconds after its start.
    assert read(db) == [RunTally("failed", 5.0, 1, 5.0), RunTally("promoted", 5.0, 2, 10.0)]


def test_run_that_is_cancelled_while_it_waits_took_no_time(db: Database) -> None:
    run = request(db)
    with db.write() as conn:
        runs.cancel(conn, run.id, NOW + 100)
    assert read(db) == [RunTally("cancelled", 0.5, 1, 0.0)]


def test_running_run_is_counted_once_its_trainer_ends_it(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        runs.cancel(conn, run.id, NOW + 1)
    assert read(db) == []
    with db.write() as conn:
        leases.hand_back(conn, run.id, "a", NOW + 2)
    assert read(db) == [RunTally("cancelled", 2.0, 1, 2.0)]


def test_run_handed_back_to_wait_is_not_counted(db: Database) -> None:
    run = start(db)
    with db.write() as conn:
        leases.hand_back(conn, run.id, "a", NOW + 2)
    assert read(db) == []


def test_run_whose_trainer_died_is_counted_when_it_is_given_up(db: Database) -> None:
    start(db)
    request(db)
    for attempt in range(1, leases.MAX_ATTEMPTS):
        assert claim(db, "b", NOW + attempt * (LATE - NOW)) is not None
        assert read(db) == []
    assert claim(db, "c", NOW + leases.MAX_ATTEMPTS * (LATE - NOW)) is not None
    assert [(tally.outcome, tally.runs) for tally in read(db)] == [("failed", 1)]


def test_run_whose_end_is_rolled_back_is_not_counted(db: Database) -> None:
    run = start(db)

    def end_and_break(conn: Connection) -> None:
        assert leases.finish(conn, run.id, "a", state="failed", now=NOW)
        raise RuntimeError("the trainer dies here")

    with pytest.raises(RuntimeError), db.write() as conn:
        end_and_break(conn)
    assert read(db) == []


def test_runs_that_several_trainers_end_are_all_counted(db: Database) -> None:
    def count(_: int) -> None:
        for _ in range(10):
            with db.write() as conn:
                run_tallies.count(conn, "held-back", 1.0)

    in_threads(4, count)
    assert read(db) == [RunTally("held-back", 1.0, 40, 40.0)]
