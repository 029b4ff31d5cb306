"""What is asked often reads no more rows in an old installation than in a young one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from core.labelling import labels
from core.review.listing import browse, pages
from core.review.queue import pool, suspects
from core.settings import Settings
from core.shadows import outcomes
from core.store.store import Store, open_store
from tests.support import large_home, large_home_lists, postgres
from tests.support.large_home import Size
from tests.support.large_home_reads import operations
from training.worker import sequential_test

pytestmark = pytest.mark.slow  # not in `make check`

YOUNG, OLD = (Size(n, n, n, n) for n in (500, 2_000))
# PostgreSQL scans smaller tables, which costs less than an index.
POSTGRES_YOUNG, POSTGRES_OLD = (Size(n, n, n, n) for n in (1_000, 4_000))
# What is counted or compared row by row, instead of 1,000.
FEW = 20
# Four times the rows, and an index that is at most a level deeper.
MAX_RATIO = 1.3
# Where little is read, one more page is a large share.
SLACK = 500

_COUNT_EVERY = 10


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_COUNTED", FEW)
    monkeypatch.setattr(browse, "MAX_CHANGED", FEW)
    monkeypatch.setattr(pages, "MAX_ROWS", 5)
    monkeypatch.setattr(pool, "MAX_LABELLED", FEW)
    monkeypatch.setattr(suspects, "_CHUNK", 10)
    monkeypatch.setattr(large_home_lists, "LIMIT", 5)
    monkeypatch.setattr(outcomes, "RECENT_LABELS", FEW)
    monkeypatch.setattr(outcomes, "READ_AGAIN", FEW)
    monkeypatch.setattr(sequential_test, "LABELS_PER_FALSE_ALARM", FEW)


def costs(
    settings: Settings, size: Size, counting: Callable[[Store], Callable[[], int]]
) -> dict[str, int]:
    """What each operation costs in a home of this size, once it is warm."""
    store = open_store(settings)
    large_home.fill(store, size)
    measured = {}
    count = counting(store)
    for name, operation in operations(settings, store, size).items():
        operation()
        before = count()
        operation()
        measured[name] = count() - before
    store.db.close()
    return measured


def assert_bounded(young: dict[str, int], old: dict[str, int]) -> None:
    grown = {
        name: (cost, old[name])
        for name, cost in young.items()
        if old[name] > MAX_RATIO * cost + SLACK
    }
    assert not grown
    assert max(young.values()) > 0, "nothing was counted"


@contextmanager
def steps_counted() -> Iterator[Callable[[], int]]:
    """Counts the instructions of SQLite's virtual machine, on all connections."""
    total = 0

    def step() -> int:
        nonlocal total
        total += _COUNT_EVERY
        return 0

    def on_connect(connection: object, _record: object) -> None:
        connection.set_progress_handler(step, _COUNT_EVERY)  # type: ignore[attr-defined]

    event.listen(Engine, "connect", on_connect)
    yield lambda: total
    event.remove(Engine, "connect", on_connect)


def test_no_statement_of_sqlite_grows_with_the_tables(tmp_path: Path) -> None:
    def measure(size: Size, name: str) -> dict[str, int]:
        settings = Settings(home=tmp_path / name, device="cpu", workers=1)
        with steps_counted() as count:
            return costs(settings, size, lambda _: count)

    assert_bounded(measure(YOUNG, "young"), measure(OLD, "old"))


def rows_read_of(store: Store) -> Callable[[], int]:
    """Counts the rows of tables and indexes that PostgreSQL has read."""
    query = text(
        "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables) "
        "+ (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)"
    )

    def count() -> int:
        with store.db.read() as conn:
            return int(conn.execute(query).scalar_one())

    return count


@pytest.mark.postgres
def test_no_statement_of_postgresql_grows_with_the_tables(
    tmp_path: Path, postgres_server: postgres.Server
) -> None:
    # Otherwise the server publishes what it has counted once a second.
    def flush(conn: object) -> None:
        conn.exec_driver_sql("SELECT pg_stat_force_next_flush()")  # type: ignore[attr-defined]

    def measure(size: Size, name: str) -> dict[str, int]:
        with postgres_server.database() as url:
            settings = Settings(home=tmp_path / name, device="cpu", workers=1, database_url=url)
            return costs(settings, size, rows_read_of)

    event.listen(Engine, "begin", flush)
    try:
        assert_bounded(measure(POSTGRES_YOUNG, "young"), measure(POSTGRES_OLD, "old"))
    finally:
        event.remove(Engine, "begin", flush)
