"""Backbones of both kinds of input in 8-bit integers, by the labelled inputs where these help."""

from __future__ import annotations

from collections.abc import Callable

from core.inputs.kind import Limits
from core.inputs.pixels.decoding import PixelSpec
from core.store.store import Store
from training.backbones import quantise
from training.backbones.backbone_ref import BackboneRef
from training.backbones.text import quantise as of_texts


def as_int8(
    store: Store, backbone: BackboneRef, limits: Limits, report: Callable[[str], None]
) -> BackboneRef:
    """Store the backbone in int8. The result names the float32 backbone that it was made from.

    Raises InvalidRequest or SpecMismatch if it cannot be quantised, and NotEnoughLabels if there
    are too few labelled photos.
    """
    if not isinstance(backbone.input_spec, PixelSpec):
        report(f"Quantising {backbone.name} ...")
        return of_texts.as_int8(backbone, store.blobs)
    photos_NHWC = quantise.labelled_photos(store, backbone.input_spec, limits)
    report(f"Quantising {backbone.name} on {len(photos_NHWC)} labelled photos ...")
    rounded, result = quantise.as_int8(backbone, photos_NHWC, store.blobs)
    report(result.reason())
    return rounded
