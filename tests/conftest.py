from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import PREFIX, Settings
from core.store.blobs import LocalBlobs
from core.store.database import Database
from core.store.store import Store, open_store
from tests.support import postgres

# The code under test must not see the settings of the shell that the tests run in.
SHELL_SETTINGS = {
    name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIX)
}


_MARK_OF_FILE = re.compile(r"^pytestmark = \[?pytest\.mark\.(\w+)", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a file whose tests are all deselected: torch alone takes seconds a process."""
    if collection_path.suffix != ".py":
        return None
    mark = _MARK_OF_FILE.search(collection_path.read_text())
    return (mark is not None and f"not {mark[1]}" in config.option.markexpr) or None


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a new installation: SQLite, a folder of blobs, on the CPU."""
    return Settings(home=tmp_path / "home", device="cpu", workers=1)


@pytest.fixture
def sqlite_store(settings: Settings, _sqlite_template: Path) -> Iterator[Store]:
    settings.home.mkdir()
    shutil.copy(_sqlite_template, settings.home)
    opened = open_store(settings)
    yield opened
    opened.db.close()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with empty tables, to copy: making the tables takes 20 ms."""
    home = tmp_path_factory.mktemp("template")
    open_store(Settings(home=home)).db.close()
    return home / "evergreen.db"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest) -> Store:
    """An empty store, once on each database."""
    opened: Store = request.getfixturevalue(f"{request.param}_store")
    return opened


@pytest.fixture
def postgres_store(postgres_url: str, tmp_path: Path) -> Iterator[Store]:
    db = Database(postgres_url)
    yield Store(db, LocalBlobs(tmp_path / "blobs"))
    db.close()


@pytest.fixture
def postgres_url(postgres_server: postgres.Server, _postgres_template: str) -> Iterator[str]:
    """A new PostgreSQL database, with the tables."""
    with postgres_server.database(_postgres_template) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A new PostgreSQL database, without the tables."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    # The server may have other users, because each test has its own database.
    with postgres.server(SHELL_SETTINGS.get(postgres.OVERRIDE)) as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: postgres.Server) -> Iterator[str]:
    with postgres_server.database() as url:
        db = Database(url)
        db.ensure_schema()
        db.close()
        yield url.rsplit("/", 1)[1].split("?")[0]
