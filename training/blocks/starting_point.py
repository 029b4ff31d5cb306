"""Where a run of tier `blocks` begins: at the pretrained backbone, whatever was tuned since.

Weights that go on from tuned ones keep what labels taught that were changed or taken back since,
and generalise worse than weights that meet all the labels at once (Ash & Adams 2020, "On
warm-starting neural network training").
"""

from __future__ import annotations

from dataclasses import dataclass

from core.models.manifest import Manifest
from core.store.blobs import Blobs


@dataclass(frozen=True, slots=True)
class Origin:
    # sha256 of the float32 backbone.onnx to begin at.
    digest: str
    # What the result says that it was tuned from.
    tuned_from: str
    # Why it begins at the champion's backbone, though that is tuned already; None: it does not.
    exception: str | None = None

    def __str__(self) -> str:
        return "the pretrained backbone" if self.exception is None else "the champion's backbone"


def origin(manifest: Manifest, blobs: Blobs) -> Origin:
    """The backbone that the champion's was tuned from; the champion's own while it is not tuned.

    Integers have no gradients: instead of an int8 backbone, the float32 one that it was made of.
    """
    present = manifest.quantised_from or manifest.backbone
    if manifest.tuned_from is None:
        is_tuned = manifest.backbone_snapshot > 0
        reason = "an older release tuned it, and did not note from what" if is_tuned else None
        return Origin(present, present, reason)
    if not blobs.has(manifest.tuned_from):
        # The name is kept: once the blob is restored, runs begin there again.
        reason = f"blob {manifest.tuned_from}, from which it was tuned, is missing; restore it"
        return Origin(present, manifest.tuned_from, reason)
    return Origin(manifest.tuned_from, manifest.tuned_from)
