from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.__main__ import app
from core.registry.bootstrap import ensure_first_version
from core.settings import Settings
from core.store.store import open_store

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with version 1, to copy."""
    home = tmp_path_factory.mktemp("template") / "home"
    store = open_store(Settings(home=home))
    ensure_first_version(store)
    store.db.close()
    return home


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a home that does not exist yet, in the environment."""
    home = tmp_path / "home"
    monkeypatch.setenv("EVERGREEN_HOME", str(home))
    monkeypatch.setenv("EVERGREEN_DEVICE", "cpu")
    monkeypatch.setenv("COLUMNS", "80")
    return home


@pytest.fixture
def home(no_home: Path, template: Path) -> Path:
    shutil.copytree(template, no_home)
    return no_home


@pytest.fixture
def run() -> Run:
    """Run `evergreen` with these words. The result has exit_code, stdout and stderr."""

    def call(*words: object) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture(autouse=True)
def _stays_at_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle priority is for good, and the tests after this one need their own."""
    for name in ("cli.backup.be_idle", "cli.doctor.yield_to_others"):
        monkeypatch.setattr(name, lambda: None)
