from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from core.errors import BlobMissing, ChecksumMismatch, SpecMismatch
from core.inputs.pixels.decoding import PixelSpec
from core.models.backbones import Backbone, Runtime
from core.models.manifest import Golden
from core.models.servable import Scores, load
from core.store.blobs import LocalBlobs
from tests.support import tiny


def test_servable_scores_every_class(blobs: LocalBlobs, runtime: Runtime) -> None:
    servable = load(tiny.make_manifest(blobs, ("a", "b", "c"), version=3), blobs, runtime)
    pixels_BHWC = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    scores = servable.predict(pixels_BHWC)
    assert servable.version == 3
    assert scores.embedding_BD.shape == (5, tiny.EMBEDDING_SIZE)
    assert scores.logits_BK.shape == scores.probabilities_BK.shape == (5, 3)
    assert {a.dtype for a in (scores.embedding_BD, scores.logits_BK)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(scores.probabilities_BK.sum(axis=1), 1, atol=tiny.BATCH_ATOL)


def test_scores_do_not_depend_on_the_rest_of_the_batch(blobs: LocalBlobs, runtime: Runtime) -> None:
    servable = load(tiny.make_manifest(blobs), blobs, runtime)
    pixels_BHWC = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    alone = [servable.predict(image[np.newaxis]).logits_BK[0] for image in pixels_BHWC]
    together_BK = servable.predict(pixels_BHWC).logits_BK
    np.testing.assert_allclose(together_BK, np.stack(alone), rtol=0, atol=tiny.BATCH_ATOL)


def test_scores_are_split_and_joined_in_order(blobs: LocalBlobs, runtime: Runtime) -> None:
    servable = load(tiny.make_manifest(blobs), blobs, runtime)
    scores = servable.predict(np.arange(3 * 192, dtype=np.uint8).reshape(3, 8, 8, 3))
    again = Scores.join([scores.part(0, 1), scores.part(1, 3)])
    np.testing.assert_array_equal(again.embedding_BD, scores.embedding_BD)
    np.testing.assert_array_equal(again.logits_BK, scores.logits_BK)
    np.testing.assert_array_equal(again.probabilities_BK, scores.probabilities_BK)


def test_stored_embedding_scores_like_its_image(blobs: LocalBlobs, runtime: Runtime) -> None:
    servable = load(tiny.make_manifest(blobs), blobs, runtime)
    scores = servable.predict(tiny.SPEC.golden(0))
    logits_BK, probabilities_BK = servable.score(scores.embedding_BD)
    np.testing.assert_array_equal(logits_BK, scores.logits_BK)
    np.testing.assert_array_equal(probabilities_BK, scores.probabilities_BK)


def test_golden_mismatch_is_refused(blobs: LocalBlobs, runtime: Runtime) -> None:
    manifest = tiny.make_manifest(blobs, version=3)
    first, *rest = manifest.golden.logits
    wrong = replace(manifest, golden=Golden(0, (first + 0.5, *rest)))
    with pytest.raises(SpecMismatch, match="version 3 does not reproduce its golden output"):
        load(wrong, blobs, runtime)


def test_golden_output_that_is_not_a_number_is_refused(blobs: LocalBlobs, runtime: Runtime) -> None:
    wrong = tiny.make_manifest(blobs, golden=Golden(0, (float("nan"), 0.0)))
    with pytest.raises(SpecMismatch, match="golden"):
        load(wrong, blobs, runtime)


def test_head_on_a_loaded_backbone_is_checked_without_running_the_backbone(
    blobs: LocalBlobs, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(tiny.make_manifest(blobs, version=1), blobs, runtime)
    second = tiny.make_manifest(blobs, version=2, head_seed=2)
    monkeypatch.setattr(Backbone, "embed", lambda *_: pytest.fail("the backbone was run"))
    assert load(second, blobs, runtime).backbone is first.backbone
    with pytest.raises(SpecMismatch, match="version 2 does not reproduce its golden output"):
        load(replace(second, golden=first.manifest.golden), blobs, runtime)


@pytest.mark.parametrize("num", [0, 1, 3])
def test_golden_output_of_another_length_is_refused(
    blobs: LocalBlobs, runtime: Runtime, num: int
) -> None:
    wrong = tiny.make_manifest(blobs, golden=Golden(0, (0.0,) * num))
    with pytest.raises(SpecMismatch, match=f"its golden output has {num}"):
        load(wrong, blobs, runtime)


@pytest.mark.parametrize("classes", [("cat",), ("cat", "dog", "fox")])
def test_another_number_of_classes_is_refused(
    blobs: LocalBlobs, runtime: Runtime, classes: tuple[str, ...]
) -> None:
    manifest = replace(tiny.make_manifest(blobs), classes=classes)
    with pytest.raises(SpecMismatch, match=f"2 outputs, its manifest {len(classes)} classes"):
        load(manifest, blobs, runtime)


def test_head_for_another_embedding_is_refused(blobs: LocalBlobs, runtime: Runtime) -> None:
    manifest = tiny.make_manifest(blobs, head=blobs.put(tiny.head(2, size=7)))
    with pytest.raises(SpecMismatch, match="do not fit together"):
        load(manifest, blobs, runtime)


def test_pixels_of_another_size_are_refused(blobs: LocalBlobs, runtime: Runtime) -> None:
    manifest = tiny.make_manifest(blobs, input_spec=PixelSpec(size_px=16))
    with pytest.raises(SpecMismatch, match="do not fit together"):
        load(manifest, blobs, runtime)


def test_backbone_in_place_of_the_head_is_refused(blobs: LocalBlobs, runtime: Runtime) -> None:
    manifest = tiny.make_manifest(blobs)
    with pytest.raises(SpecMismatch):
        load(replace(manifest, head=manifest.backbone), blobs, runtime)
    with pytest.raises(SpecMismatch):
        load(replace(manifest, backbone=manifest.head), blobs, runtime)


@pytest.mark.parametrize("which", ["backbone", "head"])
def test_damaged_file_is_refused(blobs: LocalBlobs, runtime: Runtime, which: str) -> None:
    manifest = tiny.make_manifest(blobs)
    path = blobs._path(getattr(manifest, which))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ChecksumMismatch):
        load(manifest, blobs, runtime)


@pytest.mark.parametrize("which", ["backbone", "head"])
def test_absent_file_is_missing(blobs: LocalBlobs, runtime: Runtime, which: str) -> None:
    manifest = tiny.make_manifest(blobs)
    blobs.delete(getattr(manifest, which))
    with pytest.raises(BlobMissing):
        load(manifest, blobs, runtime)


@pytest.mark.parametrize("which", ["backbone", "head"])
def test_file_that_is_no_model_is_refused(blobs: LocalBlobs, runtime: Runtime, which: str) -> None:
    manifest = replace(tiny.make_manifest(blobs), **{which: blobs.put(b"no model")})
    with pytest.raises(SpecMismatch, match="onnxruntime cannot load"):
        load(manifest, blobs, runtime)


def test_versions_with_one_backbone_share_it(blobs: LocalBlobs, runtime: Runtime) -> None:
    first = load(tiny.make_manifest(blobs, head_seed=1), blobs, runtime)
    second = load(tiny.make_manifest(blobs, ("a", "b", "c"), head_seed=2), blobs, runtime)
    other = load(tiny.make_manifest(blobs, backbone_seed=9), blobs, runtime)
    assert second.backbone is first.backbone
    assert other.backbone is not first.backbone


def test_backbone_is_dropped_once_no_version_uses_it(blobs: LocalBlobs, runtime: Runtime) -> None:
    first = load(tiny.make_manifest(blobs, head_seed=1), blobs, runtime)
    second = load(tiny.make_manifest(blobs, head_seed=2), blobs, runtime)
    backbone = weakref.ref(first.backbone)
    del first
    gc.collect()
    assert backbone() is not None
    del second
    gc.collect()
    assert backbone() is None
