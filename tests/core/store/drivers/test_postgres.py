"""PostgreSQL: how long is waited for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from core.errors import StoreError
from core.store.database import Database
from core.store.drivers.time_limits import TimeLimits
from tests.support import postgres
from tests.support.wait import wait_until

pytestmark = pytest.mark.postgres

LIMIT_S = 0.3
WITHIN_S = 5.0


@pytest.fixture
def db(postgres_url: str) -> Iterator[Database]:
    opened = Database(postgres_url, TimeLimits(connect_s=1, answer_s=LIMIT_S))
    yield opened
    opened.close()


def sleep(db: Database, seconds: float) -> None:
    with db.read() as conn:
        conn.execute(text(f"SELECT pg_sleep({seconds})"))


def is_sleeping(url: str) -> bool:
    other = Database(url)
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE state = 'active' AND query ~ 'pg_sleep.60' AND pid <> pg_backend_pid()"
    )
    try:
        with other.read() as conn:
            return bool(conn.execute(text(query)).scalar_one())
    finally:
        other.close()


def test_statement_that_takes_too_long_is_given_up_on_both_sides(
    db: Database, postgres_url: str
) -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"no answer for 0\.3 s"):
        sleep(db, 60)
    assert time.monotonic() - began < WITHIN_S
    wait_until(lambda: not is_sleeping(postgres_url), WITHIN_S, "the server to cancel it")
    sleep(db, 0)


def test_limit_is_for_a_statement_and_not_for_a_transaction(db: Database) -> None:
    with db.read() as conn:
        for _ in range(4):
            conn.execute(text("SELECT pg_sleep(0.1)"))


def test_statement_without_a_limit_may_take_longer(db: Database) -> None:
    with db.write() as conn, db.unlimited(conn):
        conn.execute(text(f"SELECT pg_sleep({LIMIT_S + 0.3})"))
    with pytest.raises(StoreError, match="no answer"):
        sleep(db, 60)


def test_frozen_server_is_a_store_error_in_time_and_the_next_use_succeeds(
    db: Database, postgres_url: str, postgres_server: postgres.Server
) -> None:
    sleep(db, 0)
    began = time.monotonic()
    with postgres_server.frozen(postgres_url), pytest.raises(StoreError):
        sleep(db, 0)
    assert time.monotonic() - began < WITHIN_S
    sleep(db, 0)


def test_server_that_accepts_and_says_nothing_is_a_store_error_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        db = Database(f"postgresql+psycopg://a:b@127.0.0.1:{port}/c", TimeLimits(connect_s=1))
        began = time.monotonic()
        with pytest.raises(StoreError, match="timeout"):
            sleep(db, 0)
        assert time.monotonic() - began < WITHIN_S
        db.close()
