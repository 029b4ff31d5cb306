"""What is kept of the database before it is migrated."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import insert, text

from core.errors import MigrationNeeded, StoreError
from core.store import schema
from core.store.database import Database
from tests.core.store.test_migrations import migrations


def make_schema(db: Database, revision: str) -> None:
    config = migrations()
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, revision)


def test_migration_of_sqlite_leaves_a_copy_of_before(tmp_path: Path) -> None:
    (tmp_path / "evergreen.db.schema-0001").write_text("of an earlier migration")
    db = Database(f"sqlite:///{tmp_path / 'evergreen.db'}")
    make_schema(db, "0006")
    with db.write() as conn:
        conn.execute(insert(schema.classes).values(identity="cat", name="cat"))
    assert db.ensure_schema() == "0006"
    assert db.ensure_schema() is None
    db.close()
    [copy] = tmp_path.glob("evergreen.db.schema-*")
    assert copy.name == "evergreen.db.schema-0006"
    assert copy.stat().st_mode & 0o077 == 0
    with contextlib.closing(sqlite3.connect(copy)) as old:
        assert old.execute("SELECT version_num FROM alembic_version").fetchone() == ("0006",)
        assert old.execute("SELECT name FROM classes").fetchone() == ("cat",)


def test_database_that_cannot_be_copied_is_not_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(f"sqlite:///{tmp_path / 'evergreen.db'}")
    make_schema(db, "0006")

    def is_full(_path: Path, *, durable: bool, is_private: bool = True) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.store.drivers.sqlite.writing_whole", is_full)
    with pytest.raises(StoreError, match=r"cannot be copied.*No space left"):
        db.ensure_schema()
    with db.read() as conn:
        assert conn.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0006"
    db.close()


@pytest.mark.postgres
def test_migration_of_postgresql_waits_for_a_person(empty_postgres_url: str) -> None:
    db = Database(empty_postgres_url)
    make_schema(db, "0006")
    with pytest.raises(MigrationNeeded, match=r"schema 0006.*evergreen migrate --backup-is-made"):
        db.ensure_schema()
    assert db.ensure_schema(has_backup=True) == "0006"
    db.close()
