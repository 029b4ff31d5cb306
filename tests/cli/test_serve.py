from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from core.settings import load_settings
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture
def execs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Records the calls of `os.execvpe` instead of replacing this process."""
    calls: list[Any] = []
    monkeypatch.setattr(os, "execvpe", lambda *arguments: calls.append(arguments))
    monkeypatch.setenv("EVERGREEN_PORT", str(_free_port()))
    return calls


def test_serve_execs_bentoml_with_absolute_paths(
    tmp_path: Path, run: Run, execs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").touch()
    monkeypatch.setenv("EVERGREEN_HOME", "here")
    monkeypatch.setenv("EVERGREEN_DATABASE_URL", "sqlite:///facts.db")
    monkeypatch.setenv("EVERGREEN_BLOB_URL", "bytes")
    monkeypatch.setenv("EVERGREEN_RECIPE", "recipe.toml")
    monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    run("serve")
    ((file, command, environment),) = execs
    assert file == command[0] == sys.executable
    assert command[1:6] == ["-P", "-m", "bentoml", "serve", "service.bento:Evergreen"]
    folder = Path(command[command.index("--working-dir") + 1])
    assert (folder / "service" / "bento.py").is_file()
    assert command[-4:] == ["--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "20"]
    assert environment["EVERGREEN_HOME"] == str(tmp_path / "here")
    assert environment["EVERGREEN_DATABASE_URL"] == f"sqlite:///{tmp_path / 'facts.db'}"
    assert environment["EVERGREEN_BLOB_URL"] == str(tmp_path / "bytes")
    assert environment["EVERGREEN_RECIPE"] == str(tmp_path / "recipe.toml")
    assert environment["BENTOML_HOME"] == str(tmp_path / "here" / "bentoml")
    assert environment["BENTOML_DO_NOT_TRACK"] == "true"
    assert "BENTOML_CONTAINERIZED" not in environment


def test_serve_quotes_the_current_folder_in_a_url(
    tmp_path: Path, run: Run, execs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "50%25"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EVERGREEN_HOME", "here")
    monkeypatch.setenv("EVERGREEN_DATABASE_URL", "sqlite:///facts.db")
    run("serve")
    ((_, _, environment),) = execs
    database = load_settings(environment).database_url
    assert make_url(database).database == str(folder / "facts.db")
    assert (folder / "facts.db").is_file()


def test_serve_creates_the_home_and_prints_examples(
    no_home: Path, run: Run, execs: list[Any]
) -> None:
    result = run("serve")
    assert (no_home / "evergreen.db").is_file()
    url = f"http://127.0.0.1:{os.environ['EVERGREEN_PORT']}"
    for line in (
        "version 1 (1,000 classes)",
        f"curl -F image=@photo.jpg {url}/v1/predict",
        f"curl -F image=@photo.jpg -F label=cat {url}/v1/feedback",
        "status",
    ):
        assert line in result.stderr


def test_error_about_a_taken_port_names_the_remedy(
    home: Path, run: Run, execs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("EVERGREEN_PORT", str(port))
        result = run("serve")
    assert result.exit_code == 3
    assert f"port {port} is taken" in result.stderr
    assert f"EVERGREEN_PORT={port + 1}" in result.stderr
    assert execs == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_host_is_resolved_to_an_address(
    host: str, home: Path, run: Run, execs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_HOST", host)
    run("serve")
    ((_, command, _),) = execs
    assert command[command.index("--host") + 1] in ("127.0.0.1", "::1")


def test_address_of_another_machine_is_rejected(
    home: Path, run: Run, execs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_HOST", "192.0.2.1")  # reserved for documentation, RFC 5737
    result = run("serve")
    assert result.exit_code == 2
    assert "192.0.2.1" in result.stderr
    assert execs == []


def test_missing_recipe_is_reported_before_the_start(
    home: Path, run: Run, execs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_RECIPE", "absent.toml")
    assert "EVERGREEN_RECIPE names absent.toml" in run("serve").stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
