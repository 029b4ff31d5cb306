from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core.access import keys
from tests.cli.conftest import Run
from tests.cli.test_serve import execs

pytestmark = pytest.mark.slow  # not in `make check`

__all__ = ["execs"]


@pytest.fixture(autouse=True)
def _setting(home: Path, execs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOST", "0.0.0.0")


def test_first_start_on_a_network_makes_the_key_of_an_admin_and_prints_it_once(run: Run) -> None:
    first, second = run("serve").stderr, run("serve").stderr
    (key,) = re.findall(r"^  (eg_\S+)$", first, re.M)
    assert keys.id_of(key) is not None
    assert "Authorization: Bearer $EVERGREEN_API_KEY" in first
    assert "eg_" not in second
    assert "Requests need a key" in second
    assert "admin" in run("key", "list").stdout


def test_start_on_this_machine_makes_no_key_and_says_who_is_served(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_HOST", "localhost")
    printed = run("serve").stderr
    assert "only this machine is served" in printed
    assert "Bearer" not in printed
    assert "There are no keys" in run("key", "list").stdout
    run("key", "add", "a")
    assert "Requests need a key" in run("serve").stderr


def test_serving_everyone_must_be_said_in_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_AUTH", "off")
    assert "WARNING" in run("serve").stderr
    assert "There are no keys" in run("key", "list").stdout


def test_key_of_a_file_is_enough_and_must_be_one(
    tmp_path: Path, run: Run, execs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERGREEN_ADMIN_KEY_FILE", "admin.key")
    Path("admin.key").write_text("secret")
    refused = run("serve")
    assert refused.exit_code == 2
    assert "does not hold a key" in refused.stderr
    assert execs == []
    Path("admin.key").write_text(keys.new_key())
    assert "eg_" not in run("serve").stderr
    ((_, _, environment),) = execs
    assert environment["EVERGREEN_ADMIN_KEY_FILE"] == str(tmp_path / "admin.key")
    assert "There are no keys" in run("key", "list").stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOSTS", "https://cats.example.org"),
        ("HOSTS", "cats.example.org:443"),
        ("HOSTS", "*.example.org"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "app.example.org"),
        ("CORS_ORIGINS", "https://app.example.org/"),
        ("TRUSTED_PROXIES", "proxy"),
        ("TRUSTED_USER_HEADER", "X User"),
        ("TRUSTED_USER_ROLE", "root"),
        ("AUTH", "no"),
    ],
)
def test_wrong_setting_stops_the_start(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"EVERGREEN_{name}", value)
    refused = run("serve")
    assert refused.exit_code == 2
    assert f"EVERGREEN_{name}" in refused.stderr
