"""Backbones as an ONNX graph without weights, and the weights bound into it by name.

Every backbone has one input and one output, named here. The weights keep the keys of the library's
state dict, so they can be read back to train the backbone further. Runs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from core.errors import SpecMismatch

#: The one input of every backbone: uint8 [B, H, W, 3], RGB, 0 to 255.
PIXELS = "pixels"
#: The one output of every backbone: float32 [B, D], the pooled features.
EMBEDDING = "embedding"


def bind_weights(
    graph: bytes, weights: Mapping[str, NDArray[Any]], inputs: Sequence[str] = (PIXELS,)
) -> bytes:
    """Turn every input of an ONNX graph but `inputs` into a float32 initializer of that name.

    Returns deterministic bytes. BatchNorm stays as it is: onnxruntime folds it when it loads the
    model. The weights keep their names, so `bound_weights` reads them back.
    Raises SpecMismatch unless names and shapes are exactly those of the graph's inputs.
    """
    model = onnx.load_from_string(graph)
    wanted = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in model.graph.input
        if value.name not in inputs
    }
    if wanted.keys() != weights.keys():
        differing = sorted(wanted.keys() ^ weights.keys())
        raise SpecMismatch(
            f"the graph takes {len(wanted)} weights and {len(weights)} were given; they differ in "
            f"{', '.join(differing[:5])}: bind the weights of the architecture it was exported from"
        )
    tensors = [_initializer(name, shape, weights[name]) for name, shape in wanted.items()]
    kept = [value for value in model.graph.input if value.name in inputs]
    del model.graph.input[:]
    model.graph.input.extend(kept)
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
