"""What a challenger is published with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.models.backbones import Runtime
from core.models.manifest import Manifest, Optimised
from core.models.onnx_sessions import cpu_identity
from core.store.blobs import LocalBlobs
from tests.support import tiny
from training.backbones.backbone_ref import BackboneRef
from training.pipeline.export import optimised_of

pytestmark = pytest.mark.skipif(
    cpu_identity() is None, reason="the processor does not tell its kind"
)


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path)


@pytest.fixture
def parent(blobs: LocalBlobs) -> Manifest:
    """With an optimised form that could not be read."""
    return tiny.make_manifest(blobs, optimised=Optimised("c" * 64, cpu_identity() or ""))


def form_of(candidate: BackboneRef, parent: Manifest, blobs: LocalBlobs) -> Optimised | None:
    runtime = Runtime("cpu")
    backbone = runtime.backbone(candidate.digest, blobs)
    return optimised_of(candidate, parent, backbone, blobs, runtime)


def test_a_head_keeps_the_optimised_form_of_its_backbone(
    parent: Manifest, blobs: LocalBlobs
) -> None:
    assert form_of(BackboneRef.from_manifest(parent), parent, blobs) == parent.optimised


@pytest.mark.parametrize("optimised", [None, Optimised("c" * 64, "another kind of machine")])
def test_a_head_gets_a_form_for_this_machine_where_its_parent_has_none(
    parent: Manifest, blobs: LocalBlobs, optimised: Optimised | None
) -> None:
    parent = replace(parent, optimised=optimised)
    found = form_of(BackboneRef.from_manifest(parent), parent, blobs)
    assert found is not None
    assert found.machine == cpu_identity()
    assert blobs.has(found.digest)


def test_another_backbone_gets_its_own(parent: Manifest, blobs: LocalBlobs) -> None:
    digest = blobs.put(tiny.backbone_onnx(seed=2))
    found = form_of(replace(BackboneRef.from_manifest(parent), digest=digest), parent, blobs)
    assert found is not None
    assert found != parent.optimised


def test_a_head_keeps_a_form_for_others_where_none_can_be_made_here(
    parent: Manifest, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer on a GPU, for one, beside servers without."""
    parent = replace(parent, optimised=Optimised("c" * 64, "another kind of machine"))
    monkeypatch.setattr(Runtime, "optimise", lambda *_: None)
    assert form_of(BackboneRef.from_manifest(parent), parent, blobs) == parent.optimised
    other = replace(BackboneRef.from_manifest(parent), digest=blobs.put(tiny.backbone_onnx(seed=2)))
    assert form_of(other, parent, blobs) is None
