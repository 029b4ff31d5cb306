from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from core.settings import load_settings
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow  # not in `make check`

SETTING = "EVERGREEN_MANIFEST_KEY_FILE"


def key_file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return path


@pytest.fixture
def key(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key that is set for a home whose version 1 was published before."""
    path = key_file(tmp_path, "key")
    monkeypatch.setenv(SETTING, str(path))
    return path


def test_existing_home_works_with_a_key_once_its_versions_are_signed(key: Path, run: Run) -> None:
    refused = run("versions", 1)
    assert refused.exit_code == 4
    assert "version 1 is not signed" in refused.stderr
    assert "evergreen versions sign" in refused.stderr
    assert run("versions").exit_code == 0  # the list reads no manifest
    signed = run("versions", "sign", "--yes")
    assert (signed.exit_code, signed.stdout) == (0, "Signed 1 version.\n")
    assert run("versions", 1).exit_code == 0
    assert run("versions", "sign").stdout == "1 version: all are signed already.\n"


def test_versions_are_named_and_signed_on_confirmation_only(key: Path) -> None:
    refused = CliRunner().invoke(app, ["versions", "sign", "1"], input="n\n")
    assert refused.exit_code != 0
    assert "may have put one there" in refused.stderr
    assert "Sign 1 version? [y/N]" in refused.stderr
    assert CliRunner().invoke(app, ["versions", "1"]).exit_code == 4
    assert CliRunner().invoke(app, ["versions", "sign", "1"], input="y\n").exit_code == 0
    assert CliRunner().invoke(app, ["versions", "1"]).exit_code == 0


def test_key_is_rotated(
    key: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("versions", "sign", "--yes")
    monkeypatch.setenv(SETTING, str(key_file(tmp_path, "new-key")))
    refused = run("versions", 1)
    assert refused.exit_code == 4
    assert "evergreen versions sign --old-key-file FILE" in refused.stderr
    without = run("versions", "sign", "--yes")
    assert without.exit_code == 4
    assert "name the earlier key with --old-key-file" in without.stderr
    wrong = run("versions", "sign", "--old-key-file", key_file(tmp_path, "wrong-key"))
    assert wrong.exit_code == 4
    assert run("versions", "sign", "--old-key-file", key).stdout == "Signed 1 version.\n"
    assert run("versions", 1).exit_code == 0


def test_damaged_version_is_not_signed_and_is_named(key: Path, home: Path, run: Run) -> None:
    digest = json.loads(run("versions", "--json").stdout)[0]["head"]
    (home / "blobs" / digest[:2] / digest).write_bytes(b"damaged")
    result = run("versions", "sign", "--yes")
    assert (result.exit_code, result.stdout) == (4, "Signed 0 versions.\n")
    assert "is damaged" in result.stderr


def test_signing_needs_a_key(home: Path, run: Run) -> None:
    result = run("versions", "sign", "--yes")
    assert result.exit_code == 2
    assert SETTING in result.stderr
    assert "openssl rand" in result.stderr


@pytest.mark.parametrize("command", [("status",), ("serve",), ("versions", "sign")])
def test_key_file_that_others_can_read_is_an_error_at_the_start(
    key: Path, run: Run, command: tuple[str, ...]
) -> None:
    key.chmod(0o644)
    result = run(*command)
    assert result.exit_code == 2
    assert "mode 0644" in result.stderr
    assert "chmod o=" in result.stderr


def test_tilde_in_the_name_of_the_key_file_is_the_home_folder() -> None:
    settings = load_settings({SETTING: "~/evergreen.key"})
    assert settings.manifest_key_file == Path.home() / "evergreen.key"
