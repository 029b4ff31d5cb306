from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.access import keys
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow  # not in `make check`


def test_key_is_printed_once_and_alone(home: Path, run: Run) -> None:
    made = run("key", "add", "camera", "--role", "label", "--expires", "90d")
    key = made.stdout.strip()
    assert keys.id_of(key) is not None
    assert made.stdout == f"{key}\n"
    assert "camera" in made.stderr
    assert key not in made.stderr
    listed = run("key", "list").stdout
    assert "camera" in listed
    assert key.rpartition("_")[2] not in listed


def test_list_says_what_each_key_may_do(home: Path, run: Run) -> None:
    assert "There are no keys" in run("key", "list").stdout
    run("key", "add", "a", "--requests", "100/minute", "--bytes", "1GB/day")
    (row,) = json.loads(run("key", "list", "--json").stdout)
    assert row["role"] == "predict"
    assert row["request_quota"] == "100/minute"
    assert row["byte_quota"] == "1GB/day"
    assert row["expires_at"] is None
    assert "digest" not in row


def test_revoked_key_stays_in_the_list(home: Path, run: Run) -> None:
    run("key", "add", "a")
    assert "is revoked" in run("key", "revoke", "a").stdout
    assert "revoked" in run("key", "list").stdout
    assert run("key", "revoke", "a").exit_code == 2


@pytest.mark.parametrize(
    "options",
    [("--role", "root"), ("--expires", "soon"), ("--requests", "1GB/day"), ("--bytes", "3/day")],
)
def test_wrong_option_makes_no_key(home: Path, run: Run, options: tuple[str, ...]) -> None:
    result = run("key", "add", "a", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "There are no keys" in run("key", "list").stdout
