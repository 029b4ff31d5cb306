"""model.onnx: the backbone and the head of a version in one file that needs nothing else."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import compose, helper

from core.errors import ParityFailure
from core.inputs import kinds
from core.models.backbones import Runtime
from core.models.manifest import Manifest
from core.models.servable import Servable

TOLERANCE = 1e-4


def standalone(backbone: bytes, head: bytes, manifest: Manifest) -> bytes:
    """Join backbone and head at the embedding.

    Inputs: those of the backbone, such as `pixels` uint8 [B, H, W, 3]. Outputs: `embedding` float32
    [B, D], `logits` and `probabilities` float32 [B, K]. The metadata is that of the backbone, and
    has the classes, one a line.
    """
    first, second = onnx.load_from_string(backbone), onnx.load_from_string(head)
    # Of texts, it has the tokenizer.
    metadata = {entry.key: entry.value for entry in first.metadata_props}
    # An intermediate result cannot be an output of a merged graph under its own name.
    second = compose.add_prefix(
        second, "head_", rename_inputs=False, rename_outputs=False, rename_edges=True
    )
    opset = max(m.opset_import[0].version for m in (first, second))
    ir_version = max(first.ir_version, second.ir_version)
    first, second = (_convert(m, opset, ir_version) for m in (first, second))
    merged = compose.merge_models(
        first,
        second,
        io_map=[("embedding", "embedding")],
        outputs=["embedding", "logits", "probabilities"],
    )
    merged.producer_name = "evergreen"
    merged.model_version = manifest.version
    helper.set_model_props(
        merged,
        metadata
        | {
            "version": str(manifest.version),
            "classes": "\n".join(manifest.classes),
            **{name: str(value) for name, value in manifest.input_spec.to_json().items()},
        },
    )
    onnx.checker.check_model(merged, full_check=True)
    content: bytes = merged.SerializeToString(deterministic=True)
    return content


def verify(model: bytes, servable: Servable) -> float:
    """Largest difference to the probabilities of the service, on the golden input.

    Raises ParityFailure above 1e-4.
    """
    session = Runtime("cpu").session(model)
    spec = servable.manifest.input_spec
    golden = spec.golden(servable.manifest.golden.seed)
    feed = kinds.of_spec(spec).feed(golden)
    probabilities_BK = np.asarray(session.run(["probabilities"], feed)[0])
    difference = float(np.abs(probabilities_BK - servable.predict(golden).probabilities_BK).max())
    if not difference <= TOLERANCE:
        raise ParityFailure(
            f"model.onnx of version {servable.version} differs by {difference:.3g} from the "
            f"service; the limit is {TOLERANCE}"
        )
    return difference


def _convert(model: onnx.ModelProto, opset: int, ir_version: int) -> onnx.ModelProto:
    if model.opset_import[0].version != opset:
        model = onnx.version_converter.convert_version(model, opset)
    model.ir_version = ir_version
    return model
