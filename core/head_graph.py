"""head.onnx: embedding -> logits, probabilities. A few kilobytes, written without torch."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# onnxruntime 1.22 reads it, and every later release does.
IR_VERSION = 8


def head_onnx(
    weights_DK: NDArray[np.float32], bias_K: NDArray[np.float32], temperature: float = 1.0
) -> bytes:
    """One affine map and a softmax. `temperature` > 0 divides the logits (Guo et al. 2017)."""
    size, num_classes = weights_DK.shape
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["embedding", "weights", "bias"], ["logits"]),
            helper.make_node("Div", ["logits", "temperature"], ["calibrated"]),
            helper.make_node("Softmax", ["calibrated"], ["probabilities"], axis=-1),
        ],
        "head",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", size])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", num_classes]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", num_classes]),
        ],
        [
            numpy_helper.from_array(np.ascontiguousarray(weights_DK, np.float32), "weights"),
            numpy_helper.from_array(np.ascontiguousarray(bias_K, np.float32), "bias"),
            numpy_helper.from_array(np.asarray(temperature, np.float32), "temperature"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    model.producer_name = "evergreen"
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
