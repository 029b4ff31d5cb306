"""Where a run of tier `blocks` begins, from the manifest alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.models.manifest import Manifest
from core.store.blobs import LocalBlobs
from tests.support import tiny
from training.backbones.backbone_ref import BackboneRef
from training.blocks.starting_point import Origin, origin


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def manifest(backbone: str, **fields: object) -> Manifest:
    return tiny.plain_manifest(backbone=backbone, **fields)


def test_a_backbone_that_is_not_tuned_is_where_it_begins(blobs: LocalBlobs) -> None:
    assert origin(manifest("pretrained"), blobs) == Origin("pretrained", "pretrained")
    in_int8 = manifest("rounded", quantised_from="pretrained")
    assert origin(in_int8, blobs) == Origin("pretrained", "pretrained")


@pytest.mark.parametrize("quantised_from", [None, "tuned in float32"])
def test_from_a_tuned_one_it_goes_back_to_the_pretrained(
    blobs: LocalBlobs, quantised_from: str | None
) -> None:
    pretrained = blobs.put(b"pretrained")
    tuned = manifest(
        "tuned", quantised_from=quantised_from, tuned_from=pretrained, backbone_snapshot=9
    )
    assert origin(tuned, blobs) == Origin(pretrained, pretrained)
    assert str(origin(tuned, blobs)) == "the pretrained backbone"


@pytest.mark.parametrize(
    ("quantised_from", "begins"), [(None, "tuned"), ("tuned in float32", "tuned in float32")]
)
def test_without_the_pretrained_blob_it_goes_on_until_that_is_restored(
    blobs: LocalBlobs, quantised_from: str | None, begins: str
) -> None:
    pretrained = blobs.put(b"pretrained")
    blobs.delete(pretrained)
    tuned = manifest(
        "tuned", quantised_from=quantised_from, tuned_from=pretrained, backbone_snapshot=9
    )
    found = origin(tuned, blobs)
    assert (found.digest, found.tuned_from) == (begins, pretrained)
    assert f"blob {pretrained}" in (found.exception or "")
    assert str(found) == "the champion's backbone"
    blobs.put(b"pretrained")
    assert origin(tuned, blobs).digest == pretrained


def test_what_an_older_release_tuned_is_where_it_begins(blobs: LocalBlobs) -> None:
    fields = json.loads(manifest("tuned", backbone_snapshot=9).to_bytes())
    del fields["tuned_from"]
    found = origin(Manifest.from_bytes(json.dumps(fields).encode()), blobs)
    assert (found.digest, found.tuned_from) == ("tuned", "tuned")
    assert "older release" in (found.exception or "")


def test_a_head_trained_later_keeps_what_the_backbone_was_tuned_from() -> None:
    tuned = manifest("tuned", tuned_from="pretrained", quantised_from="tuned in float32")
    candidate = BackboneRef.from_manifest(tuned)
    assert (candidate.tuned_from, candidate.quantised_from) == ("pretrained", "tuned in float32")
    assert BackboneRef.from_json(candidate.to_json()) == candidate
