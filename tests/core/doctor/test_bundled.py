"""Backbones that this release can make again."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.doctor.bundled import Bundled
from core.models.pretrained import minilm, starter
from core.settings import Settings
from core.store.blobs import sha256
from core.store.store import open_store


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "text"])
def test_backbones_of_this_release_are_bundled(tmp_path: Path, kind: str) -> None:
    store = open_store(Settings(home=tmp_path, input=kind))
    made = {"image": [starter.backbone_onnx], "text": [minilm.backbone_onnx, minilm.float32_onnx]}
    bundled = Bundled()
    for digest in (sha256(make()) for make in made[kind]):
        assert bundled.restore(digest, store)
        assert store.blobs.has(digest)
    assert not bundled.restore("f" * 64, store)
    store.db.close()
