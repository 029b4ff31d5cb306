"""The bundled starter model, from which version 1 is published without torch.

Owns `starter_files/`: the weights in half precision (`starter.safetensors`), the ONNX graph of the
backbone without weights (`backbone.graph.onnx`), and the card (`starter.json`: classes, pixels,
provenance, figures). The backbone that is served is the graph with the weights bound into it.
Training reads the same weights. `python -m training.distil.bundle_starter` makes the files. Runs no
model.

Axes: B batch, H/W pixels, D embedding (960), K classes (200).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import onnx
import safetensors.numpy
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from core.errors import SpecMismatch
from core.inputs.pixels import RULES, PixelSpec

FILES = files("core.models") / "starter_files"

#: The one input of every backbone: uint8 [B, H, W, 3], RGB, 0 to 255.
PIXELS = "pixels"
#: The one output of every backbone: float32 [B, D], the pooled features.
EMBEDDING = "embedding"


class Head(NamedTuple):
    classes: tuple[str, ...]
    weights_DK: NDArray[np.float32]
    bias_K: NDArray[np.float32]


def backbone_onnx() -> bytes:
    """The starter backbone as ONNX: `pixels` uint8 [B, 144, 144, 3] to `embedding` [B, 960].

    The bytes are the same on every call and every machine, so their sha256 names the backbone.
    """
    return bind_weights((FILES / "backbone.graph.onnx").read_bytes(), backbone_weights())


def head() -> Head:
    """The linear head of the starter: logits = embedding @ weights_DK + bias_K (float32)."""
    weights = _weights_float32("head.", _stored_weights())
    weights_DK = np.ascontiguousarray(weights["head.weight"].T)
    return Head(tuple(card()["classes"]), weights_DK, weights["head.bias"])


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


def bind_weights(graph: bytes, weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Turn every input of an ONNX graph but `pixels` into a float32 initializer of that name.

    Returns deterministic bytes. BatchNorm stays as it is: onnxruntime folds it when it loads the
    model. The weights keep their names, so `bound_weights` reads them back.
    Raises SpecMismatch unless names and shapes are exactly those of the graph's inputs.
    """
    model = onnx.load_from_string(graph)
    wanted = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in model.graph.input
        if value.name != PIXELS
    }
    if wanted.keys() != weights.keys():
        differing = sorted(wanted.keys() ^ weights.keys())
        raise SpecMismatch(
            f"the graph takes {len(wanted)} weights and {len(weights)} were given; they differ in "
            f"{', '.join(differing[:5])}: bind the weights of the architecture it was exported from"
        )
    tensors = [_initializer(name, shape, weights[name]) for name, shape in wanted.items()]
    pixels = [value for value in model.graph.input if value.name == PIXELS]
    del model.graph.input[:]
    model.graph.input.extend(pixels)
    model.graph.initializer.extend(tensors)
    bound: bytes = model.SerializeToString(deterministic=True)
    return bound


def bound_weights(model: bytes) -> dict[str, NDArray[np.float32]]:
    """Read the weights back out of a model that `bind_weights` made, by state-dict key."""
    tensors = onnx.load_from_string(model).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}


def _initializer(name: str, shape: tuple[int, ...], value: NDArray[Any]) -> TensorProto:
    if value.shape != shape:
        raise SpecMismatch(
            f"weight {name} has shape {value.shape} and the graph takes {shape}: "
            "bind the weights of the architecture it was exported from"
        )
    return numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name)


def _stored_weights() -> bytes:
    return (FILES / "starter.safetensors").read_bytes()


def _weights_float32(prefix: str, stored: bytes) -> dict[str, NDArray[np.float32]]:
    # safetensors gives them in another order in each process.
    tensors = sorted(safetensors.numpy.load(stored).items())
    return {k: v.astype(np.float32) for k, v in tensors if k.startswith(prefix)}
