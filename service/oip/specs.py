"""What the model takes and gives: the names, types and shapes of its tensors.

B images of a batch, K classes, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.inputs import kinds
from core.models.manifest import Manifest

# An installation has one model, which has versions.
MODEL = "evergreen"
MAX_BATCH = 64
_VARIES = -1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output; -1 in the shape is the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    # A large output is sent only on request.
    is_default: bool = True


def input_specs(manifest: Manifest) -> list[TensorSpec]:
    """A request sends one of these."""
    spec = manifest.input_spec
    encoded = TensorSpec(kinds.of_spec(spec).wire.field, "BYTES", (_VARIES,))
    shape = spec.tensor_shape()
    return (
        [encoded] if shape is None else [TensorSpec(spec.key, "UINT8", (_VARIES, *shape)), encoded]
    )


def output_specs(manifest: Manifest) -> list[TensorSpec]:
    return [
        TensorSpec("probabilities", "FP32", (_VARIES, len(manifest.classes))),
        TensorSpec("label", "BYTES", (_VARIES,)),
        TensorSpec("confidence", "FP32", (_VARIES,)),
        TensorSpec("unfamiliar", "BOOL", (_VARIES,)),
        TensorSpec("embedding", "FP32", (_VARIES, manifest.embedding_size), is_default=False),
    ]


def shape_text(shape: tuple[int, ...]) -> str:
    return str(["B" if n == _VARIES else n for n in shape]).replace("'", "")
