from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError

from core.errors import DiskFull, StoreError
from core.store import schema
from core.store.database import Database
from core.store.store import Store
from tests.core.rows import PREDICTION, insert_predictions, num_predictions
from tests.support.concurrency import in_threads


@pytest.fixture
def db(store: Store) -> Database:
    return store.db


def test_write_is_all_or_nothing(db: Database) -> None:
    def fail() -> None:
        with db.write() as conn:
            conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert num_predictions(db) == 0


def test_nested_write_rolls_back_alone(db: Database) -> None:
    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        with pytest.raises(IntegrityError), conn.begin_nested():
            conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        conn.execute(insert(schema.predictions).values(id="2", **PREDICTION))
    assert num_predictions(db) == 2


def test_full_disk_of_the_database_is_an_error_of_its_own(db: Database) -> None:
    def fill() -> None:
        with db.write() as conn:
            if db.is_sqlite:
                conn.exec_driver_sql("PRAGMA max_page_count=1").close()
                values = [PREDICTION | {"id": str(i)} for i in range(1000)]
                conn.execute(insert(schema.predictions), values)
            else:
                conn.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$"))

    with pytest.raises(DiskFull, match="free some of it"):
        fill()


@pytest.mark.parametrize("durable", [True, False])
def test_concurrent_writes_all_succeed(db: Database, durable: bool) -> None:
    def write(i: int) -> None:
        for n in range(20):
            with db.write(durable=durable) as conn:
                conn.execute(insert(schema.predictions).values(id=f"{i}-{n}", **PREDICTION))

    in_threads(8, write)
    assert num_predictions(db) == 160


def test_insert_rows_is_all_or_nothing(db: Database) -> None:
    insert_predictions(db, "1", "2")
    with pytest.raises((StoreError, IntegrityError)):
        insert_predictions(db, "3", "1")
    assert num_predictions(db) == 2
    insert_predictions(db, "3")
    with db.read() as conn:
        (row,) = conn.execute(select(schema.predictions).where(schema.predictions.c.id == "3"))
    assert row._mapping == {"id": "3", **PREDICTION}


def test_insert_rows_and_write_succeed_concurrently(db: Database) -> None:
    def write(i: int) -> None:
        for n in range(20):
            if i % 2:
                insert_predictions(db, f"{i}-{n}", f"{i}-{n}-again")
            else:
                with db.write(durable=False) as conn:
                    conn.execute(insert(schema.predictions).values(id=f"{i}-{n}", **PREDICTION))

    in_threads(8, write)
    assert num_predictions(db) == 240


def test_read_sees_one_moment_throughout(db: Database) -> None:
    with db.read() as conn:
        before = conn.execute(select(func.count()).select_from(schema.predictions)).scalar_one()
        with db.write() as other:
            other.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        after = conn.execute(select(func.count()).select_from(schema.predictions)).scalar_one()
    assert before == after == 0
    assert num_predictions(db) == 1


def test_reads_succeed_during_a_long_write(db: Database) -> None:
    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        assert in_threads(4, lambda _: num_predictions(db)) == [0] * 4


def test_breach_of_a_constraint_stays_an_integrity_error(db: Database) -> None:
    with pytest.raises(IntegrityError), db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION | {"image": None}))


def test_foreign_keys_are_enforced(db: Database) -> None:
    with pytest.raises(IntegrityError), db.write() as conn:
        conn.execute(insert(schema.labels).values(example_id=7, label="x", who="x", created_at=0.0))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:hunter2@host:port/name",
        "nosuchdatabase://user:hunter2@host/name",
        "hunter2",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_unusable_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(StoreError, match="the database URL cannot be used") as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
    assert "postgresql+psycopg://user:password@host/name" in str(caught.value)


def test_unreachable_database_is_a_store_error_without_the_password() -> None:
    db = Database("postgresql+psycopg://user:hunter2@127.0.0.1:1/name?connect_timeout=2")
    with pytest.raises(StoreError, match=r"user:\*\*\*@127\.0\.0\.1") as caught:
        db.ensure_schema()
    assert "hunter2" not in str(caught.value)


def test_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "evergreen.db"
    path.write_bytes(b"this is no database" * 100)
    db = Database(f"sqlite:///{path}")
    with pytest.raises(StoreError, match="not a database"):
        db.ensure_schema()
    db.close()


def test_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be made"):
        Database(f"sqlite:///{tmp_path / 'file' / 'evergreen.db'}")


@pytest.mark.postgres
def test_lost_connection_is_a_store_error_and_the_next_use_succeeds(postgres_url: str) -> None:
    db, other = Database(postgres_url), Database(postgres_url)

    def write_while_cut_off() -> None:
        with db.write() as conn:
            pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with other.write() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))

    try:
        with pytest.raises(StoreError):
            write_while_cut_off()
        assert num_predictions(db) == 0
    finally:
        db.close()
        other.close()


def test_execute_once_is_a_transaction_of_its_own(db: Database) -> None:
    with db.execute_once() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        if db.is_sqlite:  # others may write before the block ends: no lock is held
            with db.write() as other:
                other.execute(insert(schema.predictions).values(id="2", **PREDICTION))
    assert num_predictions(db) == (2 if db.is_sqlite else 1)


def test_commit_mark_changes_with_a_commit_of_any_connection(tmp_path: Path) -> None:
    db, other = (Database(f"sqlite:///{tmp_path}/evergreen.db") for _ in range(2))
    db.ensure_schema()
    marks = [db.commit_mark()]
    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        marks.append(db.commit_mark())
    assert len(set(marks)) == 1, "nothing was committed yet"
    for commit in (lambda: None, lambda: insert_predictions(db, "2"), db.checkpoint):
        commit()
        marks.append(db.commit_mark())
    insert_predictions(other, "3")
    marks += [db.commit_mark(), db.commit_mark()]
    first, second, third = marks[2], marks[3], marks[5]
    assert len({marks[0], first, second, third}) == 4
    assert marks[6] == third
    for each in (db, other):
        each.close()
    assert db.commit_mark() not in marks, "it connects again"
