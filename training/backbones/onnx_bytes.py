"""ONNX models as bytes: equal models are equal bytes, and say nothing of what wrote them."""

from __future__ import annotations

import onnx


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Onnxruntime's tools note every set of operators that they know; those in use are kept."""
    model.producer_name, model.producer_version = "evergreen", ""
    used = {node.domain for node in model.graph.node}
    opsets = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
