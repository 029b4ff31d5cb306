"""The backbone from which a run of tier `blocks` starts: the pretrained one, even if it was tuned.

Weights that continue from tuned ones keep what they learnt from labels that were retracted since.
They also generalise worse (Ash & Adams 2020, "On warm-starting neural network training").
"""

from __future__ import annotations

from dataclasses import dataclass

from core.models.manifest import Manifest
from core.store.blobs import Blobs


@dataclass(frozen=True, slots=True)
class StartingPoint:
    # sha256 of the float32 backbone.onnx to start from.
    digest: str
    # What the manifest of the result names as `tuned_from`.
    tuned_from: str
    # Why the run starts from the champion's tuned backbone. None: it does not.
    exception: str | None = None

    def __str__(self) -> str:
        return "the pretrained backbone" if self.exception is None else "the champion's backbone"


def choose_starting_point(manifest: Manifest, blobs: Blobs) -> StartingPoint:
    """Return the backbone that the champion's was tuned from, or the champion's if it is not tuned.

    An int8 backbone cannot be trained, so its float32 original takes its place.
    """
    present = manifest.quantised_from or manifest.backbone
    if manifest.tuned_from is None:
        is_tuned = manifest.backbone_snapshot > 0
        reason = "an older release tuned it, and did not note from what" if is_tuned else None
        return StartingPoint(present, present, reason)
    if not blobs.has(manifest.tuned_from):
        # The name is kept: once the blob is restored, runs start from it again.
        reason = f"blob {manifest.tuned_from}, from which it was tuned, is missing; restore it"
        return StartingPoint(present, manifest.tuned_from, reason)
    return StartingPoint(manifest.tuned_from, manifest.tuned_from)
