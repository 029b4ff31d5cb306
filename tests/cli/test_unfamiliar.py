"""Photos unlike everything labelled. The champion knows five black ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.models.backbones import Backbone, Runtime
from core.models.references import References
from core.settings import Settings
from core.store.blobs import sha256
from core.store.store import open_store
from tests.cli.conftest import Run
from tests.support import images, tiny

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.fixture
def photos(home: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A black photo, which the champion knows, and a white one."""
    backbone = Backbone(tiny.backbone_onnx(), "", Runtime("cpu"))
    (black_D,) = backbone.embed(np.zeros((1, 8, 8, 3), np.uint8))
    known = References(np.eye(4, dtype=np.float32), np.stack([black_D] * 5), 0.99)
    known.references_NR[:] /= np.linalg.norm(black_D)
    store = open_store(Settings(home=home))
    manifest = tiny.make_manifest(
        store.blobs,
        references=store.blobs.put(known.to_bytes()),
        metrics={"unfamiliar": {"num_references": 5, "threshold": 0.99}},
    )
    tiny.activate(store, tiny.publish(store, manifest))
    store.db.close()
    paths = tmp_path / "black.png", tmp_path / "white.png"
    for path in paths:
        path.write_bytes(images.encode(Image.new("RGB", (16, 16), path.stem), "PNG"))
    return paths


def test_predict_says_that_a_photo_is_unlike_everything_labelled(
    photos: tuple[Path, Path], run: Run
) -> None:
    black, white = (run("predict", photo).stdout for photo in photos)
    assert "(version 2, unlike everything labelled)" in white
    assert "unlike" not in black


def test_predict_marks_unfamiliar_photos_in_the_table(
    photos: tuple[Path, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos[0].parent)
    shown = run("predict", *(photo.name for photo in photos)).stdout.splitlines()
    (black,) = (line for line in shown if "black.png" in line)
    (white,) = (line for line in shown if "white.png" in line)
    assert "!" not in black
    assert "!" in white
    assert shown[-1] == "!  unlike everything labelled"


def test_predict_prints_the_flags_as_json(photos: tuple[Path, Path], run: Run) -> None:
    found = json.loads(run("predict", "--json", *photos).stdout)
    assert [each["unfamiliar"] for each in found] == [False, True]


def test_flag_of_a_version_without_references_is_null(photos: tuple[Path, Path], run: Run) -> None:
    assert run("promote", 1).exit_code == 0
    (found,) = json.loads(run("predict", "--json", photos[1]).stdout)
    assert found["unfamiliar"] is None


def test_versions_shows_the_references(photos: tuple[Path, Path], run: Run) -> None:
    shown = " ".join(run("versions", 2).stdout.split())
    assert "Unfamiliar below 0.990 to the nearest of 5 references" in shown
    assert "Unfamiliar" not in run("versions", 1).stdout


def test_bundle_holds_the_references(photos: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    for number in (1, 2):
        assert run("export", number, tmp_path / str(number), "--bundle").exit_code == 0
    content = (tmp_path / "2" / "references.safetensors").read_bytes()
    manifest = json.loads((tmp_path / "2" / "manifest.json").read_text("utf-8"))
    assert sha256(content) == manifest["references"]
    assert len(list((tmp_path / "1").iterdir())) == 3
