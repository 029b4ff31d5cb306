"""`evergreen lost-images`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.labelling import lost_images
from core.settings import Settings
from core.store.blobs import sha256
from core.store.store import open_store
from tests.cli.conftest import Run
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`


def test_lost_images_are_listed_and_erased(home: Path, run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(images.png(24, 20, 1))
    run("label", photo, "cat")
    assert "No image is known to be lost" in run("lost-images").stdout
    store = open_store(Settings(home=home))
    digest = sha256(photo.read_bytes())
    store.blobs.delete(digest)
    lost_images.mark_lost(store, {digest: "missing"}, now=1.0)
    store.db.close()
    (found,) = json.loads(run("lost-images", "--json").stdout)
    assert (found["example_id"], found["label"], found["problem"]) == (1, "cat", "missing")
    assert "cat" in run("lost-images").stdout
    assert "1 label retracted" in run("lost-images", "--erase", 1).stdout
    assert "No image is known to be lost" in run("lost-images").stdout
    assert run("lost-images", "--erase", 1).exit_code == 2
