"""The database's clock: measured on PostgreSQL, shared on SQLite, whatever machines are set to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, insert

from core import leases, runs
from core.registry import promotions
from core.store import schema
from core.store.clock import MAX_OFFSET_S, MEASURE_EVERY_S, DatabaseClock
from core.store.database import Database
from tests.core.rows import VERSION


class Machine:
    """A machine's clock, its ticks, and the connection to a server whose clock reads `server`."""

    def __init__(self, wall: float = 1000.0) -> None:
        self.wall = wall
        self.tick = 5.0
        self.server = 1000.0
        # The times to the server and back, of the next round trips.
        self.trips: list[tuple[float, float]] = []
        self.clock = DatabaseClock(lambda: self.wall, lambda: self.tick)

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.tick += seconds
        self.server += seconds

    def execute(self, _query: object) -> Machine:
        there_s, back_s = self.trips.pop(0) if self.trips else (0.5, 0.5)
        self.go_on(there_s)
        self._read = self.server
        self.go_on(back_s)
        return self

    def scalar_one(self) -> float:
        return self._read

    def measure(self, *trips: tuple[float, float]) -> None:
        self.trips = list(trips)
        self.clock.measure(cast(Connection, self))


def test_offset_is_measured_by_the_shortest_round_trip() -> None:
    machine = Machine(wall=1002.0)
    machine.measure((0.9, 0.1), (0.001, 0.001), (0.1, 0.3), (2.0, 0.0))
    assert machine.clock() == pytest.approx(machine.server)
    assert machine.clock.offset.seconds == pytest.approx(2.0)
    assert machine.clock.offset.error_s == pytest.approx(0.001)


def test_worse_measure_is_ignored() -> None:
    machine = Machine()
    machine.measure((0.001, 0.001))
    machine.go_on(MEASURE_EVERY_S)
    machine.measure(*[(0.3, 0.1)] * 4)
    assert machine.clock() == pytest.approx(machine.server, abs=0.002)


def test_clock_of_the_server_that_is_set_is_followed() -> None:
    machine = Machine()
    machine.measure((0.001, 0.001))
    machine.server += 30
    machine.measure(*[(0.1, 0.1)] * 4)
    assert machine.clock() == pytest.approx(machine.server)


def test_machine_whose_clock_is_set_keeps_the_time_of_the_database() -> None:
    machine = Machine()
    machine.measure((0.001, 0.001))
    for by in (3600.0, -7200.0):
        machine.wall += by
        machine.go_on(1.0)
        assert machine.clock() == pytest.approx(machine.server)
    assert machine.clock.offset.seconds == pytest.approx(-3600.0)


def test_offset_within_the_error_of_its_measure_is_no_problem() -> None:
    machine = Machine(wall=1000.0 + MAX_OFFSET_S + 0.1)
    machine.measure(*[(0.2, 0.2)] * 4)
    assert not machine.clock.offset.is_problem
    machine.measure((0.01, 0.01))
    assert machine.clock.offset.is_problem


def test_offset_is_logged_once_and_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    machine.measure((0.001, 0.001))
    with caplog.at_level("INFO", logger="core.store.clock"):
        for by in (0.1, 2.0, 0.0, 0.05, 3.0, -5.1, 0.0):
            machine.wall += by
            machine.clock.log_offset()
    logged = [(each.message, vars(each)["offset_s"]) for each in caplog.records]
    assert logged == [("clock.offset", 2.1), ("clock.offset", 5.15), ("clock.in_step", 0.05)]


@pytest.mark.postgres
def test_postgres_gives_the_time_to_a_machine_whose_clock_is_wrong(postgres_url: str) -> None:
    db = Database(postgres_url, wall=lambda: time.time() + 2.0)
    db.ensure_schema()
    assert db.clock() == pytest.approx(time.time(), abs=0.05)
    assert db.clock.offset.seconds == pytest.approx(2.0, abs=0.05)
    assert db.clock.offset.is_problem
    db.close()


class Home:
    """A SQLite database, and the clock of its machine."""

    def __init__(self, path: Path, opened: ExitStack) -> None:
        self._url = f"sqlite:///{path / 'evergreen.db'}"
        self._opened = opened
        self.set_by = 0.0

    def wall(self) -> float:
        return time.time() + self.set_by

    def process(self) -> Database:
        db = Database(self._url, wall=self.wall)
        self._opened.callback(db.close)
        db.ensure_schema()
        return db


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ExitStack() as opened:
        yield Home(tmp_path, opened)


def test_processes_on_sqlite_have_the_machines_time(home: Home) -> None:
    first, second = home.process(), home.process()
    assert first.clock() == pytest.approx(time.time(), abs=0.05)
    assert first.clock() - second.clock() == pytest.approx(0.0, abs=0.001)
    assert first.clock.offset.seconds == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("by", [3600.0, -3600.0, 1.0])
def test_sqlite_follows_a_clock_that_was_set_if_nothing_depends_on_it(
    home: Home, by: float
) -> None:
    first, second = home.process(), home.process()
    home.set_by = by
    assert first.clock() == pytest.approx(time.time(), abs=0.05)
    first.follow_clock()
    second.follow_clock()
    for process in (first, second, home.process()):
        assert process.clock() == pytest.approx(home.wall(), abs=0.05)
    assert first.clock() - second.clock() == pytest.approx(0.0, abs=0.001)


def depend_on_a_promotion(conn: Connection, now: float) -> None:
    promotions.request(conn, 1, who="ann", why="better", now=now)


def depend_on_an_activation(conn: Connection, now: float) -> None:
    depend_on_a_promotion(conn, now)
    assert promotions.advance(conn, now) is not None


def depend_on_a_run(conn: Connection, now: float) -> None:
    runs.request(conn, trigger="request", now=now)
    assert leases.claim(conn, "ann", now) is not None


@pytest.mark.parametrize(
    "depend", [depend_on_a_promotion, depend_on_an_activation, depend_on_a_run]
)
def test_sqlite_keeps_its_time_while_something_depends_on_it(home: Home, depend: Any) -> None:
    first = home.process()
    with first.write() as conn:
        conn.execute(insert(schema.versions).values(number=1, **VERSION))
        depend(conn, first.clock())
    home.set_by = 3600.0
    for process in (first, home.process()):
        process.follow_clock()
        assert process.clock() == pytest.approx(time.time(), abs=0.05)
        assert process.clock.offset.is_problem


def test_sqlite_follows_the_clock_after_a_run_whose_trainer_died(home: Home) -> None:
    first = home.process()
    with first.write() as conn:
        depend_on_a_run(conn, first.clock() - leases.LEASE_S - 1)
    home.set_by = 3600.0
    first.follow_clock()
    assert first.clock() == pytest.approx(home.wall(), abs=0.05)


def test_clock_in_step_asks_sqlite_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    process = home.process()
    monkeypatch.setattr(process, "read", lambda: pytest.fail("SQLite was asked"))
    process.follow_clock()


def test_database_that_is_away_leaves_the_clock_as_it_was(home: Home) -> None:
    process = home.process()
    before = process.clock.offset
    home.set_by = 5.0
    process._engine.dispose()
    Path(str(process._engine.url.database)).write_bytes(b"no database" * 1000)
    process.follow_clock()
    assert process.clock.offset.seconds == pytest.approx(before.seconds + 5.0, abs=0.01)
