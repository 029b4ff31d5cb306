"""`evergreen migrate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command

from cli.exit_codes import MIGRATION, STATE, exit_code
from core.errors import MigrationNeeded
from core.store.database import Database
from tests.cli.conftest import Run
from tests.core.store.conftest import migrations

pytestmark = pytest.mark.slow  # not in `make check`


def test_database_of_this_release_is_left_alone(home: Path, run: Run) -> None:
    result = run("migrate")
    assert result.exit_code == 0
    assert "has the schema of this release" in result.stdout
    assert list(home.glob("evergreen.db.schema-*")) == []


def test_no_home_is_made(no_home: Path, run: Run) -> None:
    result = run("migrate")
    assert result.exit_code == STATE
    assert "evergreen init" in result.stderr
    assert not no_home.exists()


@pytest.mark.postgres
def test_server_on_an_older_postgresql_ends_with_a_code_of_its_own(
    postgres_url: str, no_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import create_engine, text

    engine = create_engine(postgres_url)
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()
    monkeypatch.setenv("EVERGREEN_DATABASE_URL", postgres_url)
    result = run("serve")
    assert result.exit_code == MIGRATION == exit_code(MigrationNeeded())
    assert "evergreen migrate --backup-is-made" in result.stderr


def test_older_sqlite_is_migrated_by_the_command(home: Path, run: Run) -> None:
    db = Database(f"sqlite:///{home / 'evergreen.db'}")
    config = migrations()
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.downgrade(config, "0006")
    db.close()
    result = run("migrate")
    assert result.exit_code == 0
    assert "from schema 0006 to that of this release" in result.stdout
