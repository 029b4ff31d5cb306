from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.exit_codes import exit_code
from core import errors
from core.errors import EvergreenError
from tests.cli.conftest import Run


def test_init_prints_where_everything_is_and_may_be_repeated(no_home: Path, run: Run) -> None:
    first = run("init")
    assert first.exit_code == 0
    for part in (str(no_home), "evergreen.db", "blobs", "version 1"):
        assert part in first.stdout
    assert "exists already" in run("init").stdout
    assert len(json.loads(run("versions", "--json").stdout)) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("versions",),
        ("versions", "1"),
        ("promote", "1"),
        ("rollback",),
        ("export", "1", "x"),
        ("retrain",),
        ("label", "--undo", "1"),
    ],
)
def test_command_that_needs_a_home_creates_none(
    words: tuple[str, ...], no_home: Path, run: Run
) -> None:
    result = run(*words)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"evergreen: there is no home in {no_home}")
    assert "evergreen init" in result.stderr
    assert not no_home.exists()


def test_status_of_a_new_home_names_the_next_commands(home: Path, run: Run) -> None:
    printed = run("status").stdout
    assert "version 1 (1,000 classes)" in printed
    assert "evergreen serve" in printed
    assert "evergreen import DIR" in printed


def test_misspelt_setting_is_an_input_error(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_PROT", "3001")
    result = run("status")
    assert result.exit_code == 2
    assert "did you mean EVERGREEN_PORT" in result.stderr


def test_unavailable_storage_is_an_error_without_traceback(
    no_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_home.write_text("a file where the folder should be")
    result = run("init")
    assert result.exit_code == 5
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnknownVersion, 2),
        (errors.NotEnoughLabels, 3),
        (errors.ChecksumMismatch, 4),
        (errors.StoreError, 5),
        (EvergreenError, 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: type[EvergreenError], code: int) -> None:
    assert exit_code(error("why")) == code
