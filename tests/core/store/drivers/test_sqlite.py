"""SQLite: what is durable, and what waits for the write lock."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from core.errors import StoreError
from core.settings import Settings
from core.store import schema
from core.store.database import Database
from core.store.drivers import sqlite
from core.store.drivers.time_limits import TimeLimits
from core.store.store import Store
from tests.core.rows import PREDICTION, insert_predictions, num_predictions
from tests.support.concurrency import in_threads


def write(db: Database, name: str, *, durable: bool) -> None:
    with db.write(durable=durable) as conn:
        conn.execute(insert(schema.predictions).values(id=name, **PREDICTION))


@pytest.fixture
def file(sqlite_store: Store, settings: Settings) -> Path:
    return settings.home / "evergreen.db"


@pytest.fixture
def fsynced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were fsynced, in order."""
    paths: list[Path] = []
    fsync_file = sqlite.fsync_file

    def spy(path: Path) -> None:
        fsync_file(path)
        paths.append(path)

    monkeypatch.setattr(sqlite, "fsync_file", spy)
    return paths


def test_durable_write_fsyncs_the_wal_and_another_does_not(
    sqlite_store: Store, fsynced: list[Path]
) -> None:
    write(sqlite_store.db, "quick", durable=False)
    assert fsynced == []
    write(sqlite_store.db, "durable", durable=True)
    assert [path.name for path in fsynced] == ["evergreen.db-wal"]


def test_fsync_holds_no_lock(
    sqlite_store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Database(f"sqlite:///{file}")
    monkeypatch.setattr(sqlite, "fsync_file", lambda path: write(other, "other", durable=False))
    write(sqlite_store.db, "durable", durable=True)
    assert num_predictions(sqlite_store.db) == 2
    other.close()


def test_fsynced_files_hold_every_committed_write(
    sqlite_store: Store, file: Path, fsynced: list[Path], tmp_path: Path
) -> None:
    """A power cut leaves at least what was fsynced: the old database file, and the WAL."""
    write(sqlite_store.db, "before", durable=True)
    after = tmp_path / "after" / file.name
    after.parent.mkdir()
    shutil.copy(file, after)
    write(sqlite_store.db, "quick", durable=False)
    write(sqlite_store.db, "durable", durable=True)
    shutil.copy(fsynced[-1], after.parent)
    found = Database(f"sqlite:///{after}")
    assert num_predictions(found) == 3
    found.close()


def test_fsync_that_fails_is_a_store_error(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sqlite, "fsync_file", fail)
    with pytest.raises(StoreError, match=r"cannot be fsynced.*Input/output"):
        write(sqlite_store.db, "lost", durable=True)


def test_wal_that_the_last_connection_removed_needs_no_fsync(tmp_path: Path) -> None:
    sqlite.WriteAheadLog(tmp_path / "evergreen.db").fsync()


@pytest.fixture
def hasty(file: Path) -> Iterator[Database]:
    """The database, for who waits for 20 ms only."""
    db = Database(f"sqlite:///{file}", TimeLimits(answer_s=0.02))
    yield db
    db.close()


def test_write_gives_up_where_the_lock_stays_taken(sqlite_store: Store, hasty: Database) -> None:
    with sqlite_store.db.write(), pytest.raises(StoreError, match="locked"):
        write(hasty, "late", durable=False)
    write(hasty, "next", durable=False)


def test_write_waits_for_the_lock(sqlite_store: Store) -> None:
    waiting = threading.Thread(
        target=write, args=(sqlite_store.db, "waited"), kwargs={"durable": False}
    )
    with sqlite_store.db.write(durable=False):
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(10)
    assert num_predictions(sqlite_store.db) == 1


def test_insert_rows_waits_for_the_lock(sqlite_store: Store, file: Path) -> None:
    other = Database(f"sqlite:///{file}")
    for names in (["one"], ["two", "three"]):
        waiting = threading.Thread(target=insert_predictions, args=(sqlite_store.db, *names))
        with other.write(durable=False):
            waiting.start()
            waiting.join(0.05)
            assert waiting.is_alive()
        waiting.join(10)
    assert num_predictions(other) == 3
    other.close()


def test_insert_rows_that_gives_up_leaves_nothing_and_may_be_tried_again(
    sqlite_store: Store, hasty: Database
) -> None:
    for names in (["one"], ["one", "two"]):
        with sqlite_store.db.write(), pytest.raises(StoreError, match="locked"):
            insert_predictions(hasty, *names)
    insert_predictions(hasty, "one", "two")
    assert num_predictions(hasty) == 2


def test_write_that_reads_first_loses_no_update(sqlite_store: Store) -> None:
    """A write takes its lock when it begins, so what it reads is never stale."""
    db = sqlite_store.db
    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION | {"version": 0}))

    def increment(_: int) -> None:
        for _n in range(10):
            with db.write(durable=False) as conn:
                version = conn.execute(select(schema.predictions.c.version)).scalar_one()
                conn.execute(update(schema.predictions).values(version=version + 1))

    in_threads(6, increment)
    with db.read() as conn:
        assert conn.execute(select(schema.predictions.c.version)).scalar_one() == 60


@pytest.mark.parametrize("prefix", ["sqlite:///", "sqlite+pysqlite:///"])
def test_database_file_is_made_where_the_url_says(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    db = Database(f"{prefix}{tmp_path / 'deep' / 'er' / 'evergreen.db'}")
    db.ensure_schema()
    db.close()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert (tmp_path / "deep" / "er" / "evergreen.db").exists()


def test_execute_once_waits_for_the_lock(sqlite_store: Store) -> None:
    db, entered, left = sqlite_store.db, threading.Event(), threading.Event()

    def execute_once() -> None:
        entered.set()
        with db.execute_once() as conn:
            conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        left.set()

    with db.write() as conn:
        conn.execute(insert(schema.predictions).values(id="2", **PREDICTION))
        waiting = threading.Thread(target=execute_once)
        waiting.start()
        assert entered.wait(10)
        assert not left.wait(0.05)
    waiting.join(10)
    assert num_predictions(db) == 2


def test_checkpoint_moves_the_wal_into_the_file(sqlite_store: Store, settings: Settings) -> None:
    db = sqlite_store.db
    with db.write() as conn:
        for i in range(2000):  # more than SQLite's own limit of 1,000 pages
            conn.execute(
                insert(schema.predictions).values(id=str(i), **PREDICTION | {"label": f"{i}" * 500})
            )
    file = next(settings.home.glob("*.db"))
    before = file.stat().st_size
    assert before < 1_000_000  # no commit has checkpointed
    db.checkpoint()
    assert file.stat().st_size > before + 1_000_000
    assert num_predictions(db) == 2000


def test_checkpoint_waits_for_nobody(sqlite_store: Store) -> None:
    db = sqlite_store.db
    with db.read() as reader, db.write() as conn:
        reader.execute(select(schema.predictions))
        conn.execute(insert(schema.predictions).values(id="1", **PREDICTION))
        db.checkpoint()
    assert num_predictions(db) == 1


@pytest.mark.parametrize("is_new", [True, False])
def test_only_the_owner_reads_the_database(tmp_path: Path, is_new: bool) -> None:
    home = tmp_path / "home"
    path = home / "evergreen.db"
    before = os.umask(0o022)
    try:
        if not is_new:
            home.mkdir()
            path.touch(0o644)
        db = Database(f"sqlite:///{path}")
        db.ensure_schema()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in home.iterdir()}
        db.close()
    finally:
        os.umask(before)
    assert modes == {
        name: 0o600 for name in ("evergreen.db", "evergreen.db-wal", "evergreen.db-shm")
    }
    assert stat.S_IMODE(home.stat().st_mode) == (0o700 if is_new else 0o755)
