"""The bundled starter: a small and fast pretrained model, read without torch.

Owns `starter_files/`: the weights in half precision (`starter.safetensors`), the ONNX graph of the
backbone without weights (`backbone.graph.onnx`), and the card (`starter.json`: classes, pixels,
provenance, figures). The backbone that is served is the graph with the weights bound into it.
Training reads the same weights. `python -m training.distil.bundle_starter` makes the files. Runs no
model.

Axes: B batch, H/W pixels, D embedding (960), K classes (200).
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from core.inputs.pixels.decoding import RULES, PixelSpec
from core.models.binding import bind_weights
from core.models.head_onnx import LinearHead

FILES = files("core.models") / "starter_files"

#: The name of the backbone.
NAME = "starter"


def backbone_onnx() -> bytes:
    """The starter backbone as ONNX: `pixels` uint8 [B, 144, 144, 3] to `embedding` [B, 960].

    The bytes are the same on every call and every machine, so their sha256 names the backbone.
    """
    return bind_weights((FILES / "backbone.graph.onnx").read_bytes(), backbone_weights())


def head() -> LinearHead:
    """The linear head of the starter: logits = embedding @ weights_DK + bias_K (float32)."""
    weights = _weights_float32("head.", _stored_weights())
    weights_DK = np.ascontiguousarray(weights["head.weight"].T)
    return LinearHead(tuple(card()["classes"]), weights_DK, weights["head.bias"])


def pixel_spec() -> PixelSpec:
    """How a photo becomes the pixels of the starter in a new home: by the newest rules.

    Versions of older homes keep the rules in their manifests.
    """
    return replace(PixelSpec.from_json(card()["pixels"]), rules=RULES[-1])


def provenance() -> dict[str, Any]:
    """Architecture, provenance and measured figures of the starter."""
    return {key: card()[key] for key in ("architecture", "provenance", "figures")}


def card() -> dict[str, Any]:
    """Read the whole of `starter.json`."""
    content: dict[str, Any] = json.loads((FILES / "starter.json").read_text(encoding="utf-8"))
    return content


def backbone_weights(stored: bytes | None = None) -> dict[str, NDArray[np.float32]]:
    """Read the tensors of the backbone as float32, by torch state-dict key, in alphabetical order.

    `stored` is the safetensors file of a starter, by default the bundled one.
    """
    return _weights_float32("features.", _stored_weights() if stored is None else stored)


def _stored_weights() -> bytes:
    return (FILES / "starter.safetensors").read_bytes()


def _weights_float32(prefix: str, stored: bytes) -> dict[str, NDArray[np.float32]]:
    # safetensors gives them in another order in each process.
    tensors = sorted(safetensors.numpy.load(stored).items())
    return {k: v.astype(np.float32) for k, v in tensors if k.startswith(prefix)}
