"""head.onnx: embedding -> logits, probabilities. A few kilobytes, written without torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# onnxruntime 1.22 and every later release reads it.
IR_VERSION = 8
# Less than the length of any embedding but a row of zeros, which stays zero.
_SHORTEST = 1e-12


class LinearHead(NamedTuple):
    """logits = embedding @ weights_DK + bias_K, one for each class in this order."""

    classes: tuple[str, ...]
    weights_DK: NDArray[np.float32]
    bias_K: NDArray[np.float32]


def head_onnx(
    weights_DK: NDArray[np.float32],
    bias_K: NDArray[np.float32],
    temperature: float = 1.0,
    *,
    of_unit_rms: bool = False,
) -> bytes:
    """Export one affine map and a softmax. `temperature` > 0 divides the logits (Guo et al. 2017).

    With `of_unit_rms` the embedding is first scaled to a root mean square of 1.
    """
    size, num_classes = weights_DK.shape
    scaling, mapped, constants = [], "embedding", []
    if of_unit_rms:
        # x / rms(x) = sqrt(D) x / ||x||, and the weights take sqrt(D).
        weights_DK = weights_DK * np.float32(np.sqrt(size))
        mapped = "direction"
        scaling = [
            helper.make_node("ReduceL2", ["embedding"], ["length"], axes=[-1], keepdims=1),
            helper.make_node("Max", ["length", "shortest"], ["divisor"]),
            helper.make_node("Div", ["embedding", "divisor"], ["direction"]),
        ]
        constants = [numpy_helper.from_array(np.asarray(_SHORTEST, np.float32), "shortest")]
    graph = helper.make_graph(
        [
            *scaling,
            helper.make_node("Gemm", [mapped, "weights", "bias"], ["logits"]),
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
            *constants,
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    model.producer_name = "evergreen"
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
