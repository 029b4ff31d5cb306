"""What SQLite is asked for beyond SQL: what is on the disk, and who waits for it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from core import schema, sqlite
from core.database import Database
from core.errors import StoreError
from core.settings import Settings
from core.store import Store


def write(db: Database, name: str, *, durable: bool) -> None:
    row = {"image": "a" * 64, "version": 1, "label": "cat", "confidence": 0.9, "margin": 0.8}
    with db.write(durable=durable) as conn:
        conn.execute(insert(schema.predictions).values(id=name, created_at=0.0, **row))


def count(db: Database) -> int:
    with db.read() as conn:
        return conn.execute(select(func.count()).select_from(schema.predictions)).scalar_one()


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
    assert count(sqlite_store.db) == 2
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
    assert count(found) == 3
    found.close()


def test_a_disk_that_fails_is_told_of(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sqlite, "sync_file", fail)
    with pytest.raises(StoreError, match=r"cannot be taken to the disk.*Input/output"):
        write(sqlite_store.db, "lost", durable=True)


def test_a_log_that_its_last_user_moved_into_the_database_needs_no_sync(tmp_path: Path) -> None:
    sqlite.Log(tmp_path / "evergreen.db").sync()


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
    assert count(sqlite_store.db) == 1
