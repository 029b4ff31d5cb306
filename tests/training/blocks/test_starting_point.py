"""The backbone from which a run of tier `blocks` starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.models.manifest import Manifest
from core.store.blobs import LocalBlobs
from tests.support import tiny
from training.backbones.backbone_ref import BackboneRef
from training.blocks.starting_point import StartingPoint, choose_starting_point


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def manifest(backbone: str, **fields: object) -> Manifest:
    return tiny.plain_manifest(backbone=backbone, **fields)


def test_run_starts_from_a_backbone_that_is_not_tuned(blobs: LocalBlobs) -> None:
    assert choose_starting_point(manifest("pretrained"), blobs) == StartingPoint(
        "pretrained", "pretrained"
    )
    in_int8 = manifest("rounded", quantised_from="pretrained")
    assert choose_starting_point(in_int8, blobs) == StartingPoint("pretrained", "pretrained")


@pytest.mark.parametrize("quantised_from", [None, "tuned in float32"])
def test_run_of_a_tuned_backbone_starts_from_the_pretrained_one(
    blobs: LocalBlobs, quantised_from: str | None
) -> None:
    pretrained = blobs.put(b"pretrained")
    tuned = manifest(
        "tuned", quantised_from=quantised_from, tuned_from=pretrained, backbone_snapshot=9
    )
    assert choose_starting_point(tuned, blobs) == StartingPoint(pretrained, pretrained)
    assert str(choose_starting_point(tuned, blobs)) == "the pretrained backbone"


@pytest.mark.parametrize(
    ("quantised_from", "expected"), [(None, "tuned"), ("tuned in float32", "tuned in float32")]
)
def test_run_without_the_pretrained_blob_starts_from_the_tuned_backbone(
    blobs: LocalBlobs, quantised_from: str | None, expected: str
) -> None:
    pretrained = blobs.put(b"pretrained")
    blobs.delete(pretrained)
    tuned = manifest(
        "tuned", quantised_from=quantised_from, tuned_from=pretrained, backbone_snapshot=9
    )
    start = choose_starting_point(tuned, blobs)
    assert (start.digest, start.tuned_from) == (expected, pretrained)
    assert f"blob {pretrained}" in (start.exception or "")
    assert str(start) == "the champion's backbone"
    blobs.put(b"pretrained")
    assert choose_starting_point(tuned, blobs).digest == pretrained


def test_run_starts_from_what_an_older_release_tuned(blobs: LocalBlobs) -> None:
    fields = json.loads(manifest("tuned", backbone_snapshot=9).to_bytes())
    del fields["tuned_from"]
    start = choose_starting_point(Manifest.from_bytes(json.dumps(fields).encode()), blobs)
    assert (start.digest, start.tuned_from) == ("tuned", "tuned")
    assert "older release" in (start.exception or "")


def test_backbone_ref_keeps_what_the_backbone_was_tuned_from() -> None:
    tuned = manifest("tuned", tuned_from="pretrained", quantised_from="tuned in float32")
    candidate = BackboneRef.from_manifest(tuned)
    assert (candidate.tuned_from, candidate.quantised_from) == ("pretrained", "tuned in float32")
    assert BackboneRef.from_json(candidate.to_json()) == candidate
