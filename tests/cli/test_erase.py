"""`evergreen erase`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.settings import Settings
from core.store.blobs import sha256
from core.store.store import open_store
from tests.cli.conftest import Run
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def test_example_is_erased_and_the_receipt_printed(home: Path, run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(images.png(24, 20, 1))
    run("label", photo, "cat")
    done = run("erase", "example", 1)
    assert "1 label blanked, 0 predictions deleted" in done.stdout
    assert "Remains: backups from before" in done.stdout
    store = open_store(Settings(home=home))
    assert not store.blobs.has(sha256(photo.read_bytes()))
    store.db.close()
    receipt = json.loads(run("erase", "example", 1, "--json").stdout)
    assert (receipt["example_id"], receipt["receipt"]["labels"]) == (1, [1])
    assert run("erase", "example", 2).exit_code == 2


def test_prediction_is_erased(home: Path, run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(images.png(24, 20, 1))
    made = json.loads(run("predict", photo, "--json").stdout)
    made = made[0] if isinstance(made, list) else made
    assert "1 prediction deleted" in run("erase", "prediction", made["prediction_id"]).stdout
    assert run("erase", "prediction", "x").exit_code == 2
