"""`evergreen backup` and `evergreen restore`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ARTIFACT, INPUT
from core.settings import load_settings
from core.store.store import open_store
from tests.cli.conftest import Run
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def predicted(run: Run, photo: Path) -> dict[str, Any]:
    """The prediction, but for its id."""
    [prediction] = json.loads(run("predict", photo, "--json").stdout)
    return {name: value for name, value in prediction.items() if name != "prediction_id"}


def test_restored_home_predicts_the_same(
    home: Path, place: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(images.png(64, 48, 3))
    before = predicted(run, photo)
    made = run("backup", place, "--verify")
    assert made.exit_code == 0
    assert "Checked backup" in made.stdout
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "new"))
    restored = run("restore", place)
    assert restored.exit_code == 0
    assert "Next: evergreen serve" in restored.stdout
    assert predicted(run, photo) == before


def test_second_backup_copies_nothing_and_old_ones_are_deleted(
    home: Path, place: Path, run: Run
) -> None:
    run("backup", place)
    second = run("backup", place, "--keep", 1)
    assert "0 new with 0.0 MB" in second.stdout
    assert "Deleted 1 older backup" in second.stdout
    listed = run("restore", place, "--list").stdout
    assert listed.count("0.1.0") == 1


def test_damaged_backup_ends_with_the_code_of_damaged_files(
    home: Path, place: Path, run: Run
) -> None:
    run("backup", place)
    damaged = next(path for path in (place / "blobs").rglob("*") if path.is_file())
    damaged.write_bytes(b"other")
    result = run("restore", place, "--verify")
    assert result.exit_code == ARTIFACT
    assert damaged.name in result.stderr


def test_damaged_blob_of_the_home_ends_with_that_code_too(
    home: Path, place: Path, run: Run
) -> None:
    store = open_store(load_settings())
    digest = store.blobs.put(b"bytes")
    store.db.close()
    next(home.rglob(digest)).write_bytes(b"other")
    result = run("backup", place)
    assert result.exit_code == ARTIFACT
    assert f"blob {digest} is damaged, and not in the backup" in result.stderr


def test_restore_into_a_home_in_use_is_refused(home: Path, place: Path, run: Run) -> None:
    run("backup", place)
    result = run("restore", place)
    assert result.exit_code == INPUT
    assert "restore into an empty home" in result.stderr


def test_restore_without_a_backup_says_how_to_make_one(
    no_home: Path, place: Path, run: Run
) -> None:
    result = run("restore", place)
    assert result.exit_code == INPUT
    assert "evergreen backup" in result.stderr
    assert not no_home.exists()
