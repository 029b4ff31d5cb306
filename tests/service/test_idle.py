"""What processes that have nothing to do ask of the database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, text

from core.settings import Settings
from tests.service import trained_home
from tests.support.wait import wait_until

# Waits in real time: not in `make check`.
pytestmark = pytest.mark.slow

SECONDS = 3.0
MAX_PER_SECOND = 5
# It reads the header of SQLite's WAL index, and no table.
MARK = "PRAGMA data_version"


@contextmanager
def statements_counted() -> Iterator[Counter[str]]:
    """Counts all that SQLite executes, also what begins and ends transactions."""
    seen: Counter[str] = Counter()

    def on_connect(connection: object, _record: object) -> None:
        connection.set_trace_callback(lambda text: seen.update([text]))  # type: ignore[attr-defined]

    event.listen(Engine, "connect", on_connect)
    yield seen
    event.remove(Engine, "connect", on_connect)


def count_for_a_while(seen: Counter[str]) -> tuple[float, float]:
    """Returns the statements a second, and the marks a second."""
    wait_until(lambda: seen[MARK] > 60)  # what a start does is over, and the first look for work
    seen.clear()
    began = time.monotonic()
    time.sleep(SECONDS)
    found, seconds = dict(seen), time.monotonic() - began
    marks = found.pop(MARK, 0)
    return sum(found.values()) / seconds, marks / seconds


def test_idle_process_asks_at_most_five_statements_a_second(settings: Settings) -> None:
    with statements_counted() as seen:
        serving = trained_home.start_with_the_starter(settings)
        rate, marks = count_for_a_while(seen)
        serving.stop()
    assert 0 < rate <= MAX_PER_SECOND
    assert 0 < marks <= 11


def test_idle_process_and_trainer_ask_at_most_ten_statements_a_second(settings: Settings) -> None:
    with statements_counted() as seen:
        serving = trained_home.start_with_the_starter(settings)
        with trained_home.running_trainer(settings):
            rate, _ = count_for_a_while(seen)
        serving.stop()
    # Each also sees that the other has renewed its heartbeat.
    assert 0 < rate <= 2 * MAX_PER_SECOND


def test_idle_trainer_asks_at_most_five_statements_a_second(settings: Settings) -> None:
    trained_home.begin_with_the_starter(settings)
    with statements_counted() as seen, trained_home.running_trainer(settings):
        rate, _ = count_for_a_while(seen)
    assert 0 < rate <= MAX_PER_SECOND


@pytest.mark.postgres
def test_idle_processes_ask_postgresql_at_most_five_statements_a_second(
    settings: Settings, postgres_url: str
) -> None:
    settings = settings.model_copy(update={"database_url": postgres_url})
    query = text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")

    def num_statements() -> int:
        """Each is a transaction of its own. The server counts it up to a second late."""
        with serving.store.db.read() as conn:
            return int(conn.execute(query).scalar_one())

    serving = trained_home.start_with_the_starter(settings)
    with trained_home.running_trainer(settings):
        time.sleep(2.0)
        before, began = num_statements(), time.monotonic()
        time.sleep(SECONDS)
        rate = (num_statements() - before) / (time.monotonic() - began)
    serving.stop()
    assert 0 < rate <= 2 * MAX_PER_SECOND
