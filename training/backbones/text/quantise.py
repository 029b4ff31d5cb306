"""Quantises an encoder of texts to 8-bit integers, without any texts.

Weights are rounded by channel. Activations are rounded by the range that they have in each text:
that of one text says little about another. The gate decides on the result.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx

from core.errors import SpecMismatch
from core.inputs.tokens.reader import METADATA_KEY
from core.store.blobs import Blobs
from training.backbones.backbone_ref import BackboneRef
from training.backbones.onnx_bytes import to_bytes
from training.backbones.quantise import round_weights


def as_int8(backbone: BackboneRef, blobs: Blobs) -> BackboneRef:
    """Store the encoder in int8. The result names the float32 encoder that it was made from.

    Raises SpecMismatch if it cannot be quantised.
    """
    digest = blobs.put(quantise(blobs.get(backbone.digest, keep=True)))
    return replace(backbone, digest=digest, quantised_from=backbone.digest)


def quantise(model: bytes) -> bytes:
    """Same inputs, same output, same tokenizer. Raises SpecMismatch if onnxruntime cannot."""
    with tempfile.TemporaryDirectory(prefix="evergreen-int8-") as folder:
        given, rounded = (Path(folder) / f"{name}.onnx" for name in ("in", "out"))
        given.write_bytes(model)
        try:
            round_weights(given, rounded)
            result = onnx.load(rounded)
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            raise SpecMismatch(f"onnxruntime cannot quantise it: {error}") from error
    # Without what it was made from: it cannot be trained.
    kept = [entry for entry in result.metadata_props if entry.key == METADATA_KEY]
    del result.metadata_props[:]
    result.metadata_props.extend(kept)
    return to_bytes(result)
