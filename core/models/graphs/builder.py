"""Writes an ONNX graph node by node. Runs no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: Every release of onnxruntime from 1.14 on reads both.
OPSET = 17
IR_VERSION = 8


class GraphBuilder:
    """Names are given in the order of the calls, so the bytes are the same on every machine."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any] | float) -> str:
        """Add a constant, once for each name. A Python float becomes float32."""
        if name not in self._initializers:
            array = np.ascontiguousarray(value, np.float32 if isinstance(value, float) else None)
            # ascontiguousarray makes a scalar one-dimensional.
            array = array.reshape(np.shape(value))
            self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def ints(self, *values: int) -> str:
        """Add a list of integers, such as axes or a shape."""
        name = "ints_" + "_".join(str(value) for value in values)
        return self.constant(name, np.asarray(values, np.int64))

    def add(self, op: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        output = to or f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [output], output, **attributes))
        return output

    def cast(self, tensor: str, element_type: int) -> str:
        output = f"Cast_{len(self._nodes)}"
        self._nodes.append(helper.make_node("Cast", [tensor], [output], output, to=element_type))
        return output

    def split(self, tensor: str, num: int, size: int) -> list[str]:
        """Split the last of three axes into `num` parts of one size."""
        outputs = [f"{tensor}_part_{i}" for i in range(num)]
        inputs = [tensor, self.ints(*[size] * num)]
        self._nodes.append(helper.make_node("Split", inputs, outputs, outputs[0], axis=2))
        return outputs

    def model(
        self,
        inputs: list[onnx.ValueInfoProto],
        outputs: list[onnx.ValueInfoProto],
        metadata: Mapping[str, str],
    ) -> bytes:
        graph = helper.make_graph(
            self._nodes, "backbone", inputs, outputs, list(self._initializers.values())
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        model.producer_name = "evergreen"
        helper.set_model_props(model, dict(metadata))
        content: bytes = model.SerializeToString(deterministic=True)
        return content
