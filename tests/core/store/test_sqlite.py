"""What SQLite is asked for beyond SQL: what is on the disk, and who waits for it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from core.errors import StoreError
from core.settings import Settings
from core.store import schema, sqlite
from core.store.database import Database
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
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were taken to the disk."""
    paths: list[Path] = []
    sync_file = sqlite.sync_file

    def spy(path: Path) -> None:
        sync_file(path)
        paths.append(path)

    monkeypatch.setattr(sqlite, "sync_file", spy)
    return paths


def test_a_durable_write_takes_the_log_to_the_disk_and_a_quick_one_does_not(
    sqlite_store: Store, synced: list[Path]
) -> None:
    write(sqlite_store.db, "quick", durable=False)
    assert synced == []
    write(sqlite_store.db, "durable", durable=True)
    assert [path.name for path in synced] == ["evergreen.db-wal"]


def test_others_write_while_the_disk_is_waited_for(
    sqlite_store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Database(f"sqlite:///{file}")
    monkeypatch.setattr(sqlite, "sync_file", lambda path: write(other, "other", durable=False))
    write(sqlite_store.db, "durable", durable=True)
    assert num_predictions(sqlite_store.db) == 2
    other.close()


def test_the_files_as_they_are_once_synced_hold_what_was_written(
    sqlite_store: Store, file: Path, synced: list[Path], tmp_path: Path
) -> None:
    """A power cut leaves what was synced: the database as it was, and the log."""
    write(sqlite_store.db, "before", durable=True)
    after = tmp_path / "after" / file.name
    after.parent.mkdir()
    shutil.copy(file, after)
    write(sqlite_store.db, "quick", durable=False)
    write(sqlite_store.db, "durable", durable=True)
    shutil.copy(synced[-1], after.parent)
    found = Database(f"sqlite:///{after}")
    assert num_predictions(found) == 3
    found.close()


def test_a_disk_that_fails_is_told_of(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sqlite, "sync_file", fail)
    with pytest.raises(StoreError, match=r"cannot be taken to the disk.*Input/output"):
        write(sqlite_store.db, "lost", durable=True)


def test_a_log_that_its_last_user_moved_into_the_database_needs_no_sync(tmp_path: Path) -> None:
    sqlite.WriteAheadLog(tmp_path / "evergreen.db").sync()


def test_a_turn_that_does_not_come_is_given_up(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_MS", 20)
    with sqlite_store.db.write(), pytest.raises(StoreError, match="locked"):
        write(sqlite_store.db, "late", durable=False)
    write(sqlite_store.db, "next", durable=False)


def test_whoever_waits_for_a_turn_gets_it(sqlite_store: Store) -> None:
    waiting = threading.Thread(
        target=write, args=(sqlite_store.db, "waited"), kwargs={"durable": False}
    )
    with sqlite_store.db.write(durable=False):
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(10)
    assert num_predictions(sqlite_store.db) == 1


def test_what_is_appended_waits_for_its_turn_too(sqlite_store: Store, file: Path) -> None:
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


def test_appending_that_is_given_up_leaves_nothing_and_may_be_tried_again(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_MS", 20)
    db = sqlite_store.db
    for names in (["one"], ["one", "two"]):
        with db.write(), pytest.raises(StoreError, match="locked"):
            insert_predictions(db, *names)
    insert_predictions(db, "one", "two")
    assert num_predictions(db) == 2


def test_read_then_write_loses_no_update(sqlite_store: Store) -> None:
    """On SQLite a write takes its lock when it begins; a read in it is never stale."""
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
def test_sqlite_is_made_where_the_url_says(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    db = Database(f"{prefix}{tmp_path / 'deep' / 'er' / 'evergreen.db'}")
    db.ensure_schema()
    db.close()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert (tmp_path / "deep" / "er" / "evergreen.db").exists()


def test_one_statement_waits_its_turn(sqlite_store: Store) -> None:
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


def test_checkpoint_moves_the_log_into_the_file(sqlite_store: Store, settings: Settings) -> None:
    db = sqlite_store.db
    with db.write() as conn:
        for i in range(2000):  # more than SQLite's own limit of 1,000 pages
            conn.execute(
                insert(schema.predictions).values(id=str(i), **PREDICTION | {"label": f"{i}" * 500})
            )
    file = next(settings.home.glob("*.db"))
    before = file.stat().st_size
    assert before < 1_000_000  # no commit has done it
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
