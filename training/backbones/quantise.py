"""Quantises a float32 backbone.onnx to 8-bit integers, with labelled photos.

Static quantisation by onnxruntime in the QDQ format. Photos give the ranges of all activations, and
weights are rounded by channel. No torch. The gate decides whether the result is fast and accurate
enough.

Axes: N photos, H/W pixels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import core.models.onnx_sessions  # noqa: F401
from core.errors import UNUSABLE_IMAGE, InvalidRequest, NotEnoughLabels, SpecMismatch
from core.inputs import pixels
from core.inputs.pixels import Limits, PixelSpec
from core.labelling import labels
from core.store.blobs import Blobs
from core.store.store import Store
from training.backbones.backbone_ref import BackboneRef

# isort: split
# After core.models.onnx_sessions, which switches onnxruntime's telemetry off.
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

MIN_PHOTOS = 20
# More photos hardly change the ranges.
MAX_PHOTOS = 100

# This many linear nodes stay in float32, from the pixels on.
_NUM_FIRST = 3
_LINEAR = ("Conv", "Gemm", "MatMul")
# These nodes between two linear ones are quantised or fused too. A Clip in float32 would cost a
# MobileNet half of the gain.
_BETWEEN = ("Add", "Clip", "Concat", "MaxPool", "Relu", "Reshape", "Split", "Transpose")
# Called after every photo with the number of photos done. An error that it raises ends the work.
OnPhotos = Callable[[int], None]


def as_int8(
    backbone: BackboneRef,
    photos_NHWC: NDArray[np.uint8],
    blobs: Blobs,
    on_photos: OnPhotos = lambda done: None,
) -> BackboneRef:
    """Store the backbone in int8. The result names the float32 backbone that it was made from.

    Raises InvalidRequest or SpecMismatch if it cannot be quantised.
    """
    quantised = quantise(blobs.get(backbone.digest), photos_NHWC, on_photos)
    return replace(backbone, digest=blobs.put(quantised), quantised_from=backbone.digest)


def labelled_photos(store: Store, spec: PixelSpec, limits: Limits) -> NDArray[np.uint8]:
    """Return the pixels of up to 100 labelled photos, evenly from the oldest to the newest.

    None of them is held out, because held-out photos evaluate the result. Labels are not used.
    Raises NotEnoughLabels if fewer than 20 photos can be read.
    """
    with store.db.read() as conn:
        images = [row.image for row in labels.current(conn) if not row.is_held_out]
    photos = []
    for image in (images[i] for i in evenly(len(images))):
        try:
            photos.append(pixels.decode(store.blobs.get(image), spec, limits))
        except UNUSABLE_IMAGE:
            continue
    if len(photos) < MIN_PHOTOS:
        raise NotEnoughLabels(
            f"int8 needs {MIN_PHOTOS} labelled photos to take the ranges of its numbers from, and "
            f"{len(photos)} can train: label more, or use the backbone in float32"
        )
    return np.stack(photos)


def evenly(num: int) -> list[int]:
    """Return up to 100 indexes below `num`, evenly spread."""
    return [int(i) for i in np.linspace(0, num - 1, min(num, MAX_PHOTOS)).round()]


def quantise(
    model: bytes, photos_NHWC: NDArray[np.uint8], on_photos: OnPhotos = lambda done: None
) -> bytes:
    """Quantise a backbone: same input, same output, float32 at both ends and integers in between.

    Raises InvalidRequest if there is nothing to quantise, SpecMismatch if onnxruntime cannot.
    """
    with tempfile.TemporaryDirectory(prefix="evergreen-int8-") as folder:
        given, folded, result = (Path(folder) / f"{name}.onnx" for name in ("in", "folded", "out"))
        given.write_bytes(model)
        try:
            # Folds BatchNorm into the convolutions, whose weights can then be rounded.
            quant_pre_process(str(given), str(folded), skip_symbolic_shape=True)
            graph = onnx.load(folded).graph
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            raise SpecMismatch(f"onnxruntime cannot prepare it for int8: {error}") from error
        in_float32 = _left_in_float32(graph)
        reader = _Reader(photos_NHWC, on_photos)
        try:
            quantization.quantize_static(
                str(folded),
                str(result),
                reader,
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=[*_LINEAR, *_BETWEEN],
                nodes_to_exclude=in_float32,
                per_channel=True,
                # The only pair of types with fast kernels on every x86. Signed activations and
                # unsigned weights are both slower than float32.
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                # The mean of the minima and maxima of the photos is near the 99.9th percentile,
                # which needs all activations in memory (6 GB for MobileNetV2).
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={"CalibMovingAverage": True},
            )
        except Exception as error:
            if reader.raised is not None:
                raise reader.raised from None
            raise SpecMismatch(f"onnxruntime cannot quantise it: {error}") from error
        quantised = onnx.load(result)
    quantised.producer_name, quantised.producer_version = "evergreen", ""
    used = {node.domain for node in quantised.graph.node}
    opsets = [opset for opset in quantised.opset_import if opset.domain in used]
    del quantised.opset_import[:]
    quantised.opset_import.extend(opsets)
    content: bytes = quantised.SerializeToString(deterministic=True)
    return content


def _left_in_float32(graph: onnx.GraphProto) -> list[str]:
    """Return the names of all nodes up to the third linear one, and of the pooling after the last.

    There is no fast integer kernel for a convolution of 3 channels, nor for pooling to float32. The
    second and third node in float32 halve the noise in embeddings of the starter (digits: from 0.17
    of their variance to 0.08) and cost no time.
    """
    linear = [i for i, node in enumerate(graph.node) if node.op_type in _LINEAR]
    if len(linear) <= _NUM_FIRST:
        raise InvalidRequest(
            f"it has {len(linear)} convolutions and linear maps, and int8 leaves the first "
            f"{_NUM_FIRST} in float32: use it in float32"
        )
    first, last = linear[_NUM_FIRST - 1], linear[-1]
    end = [node for node in graph.node[last + 1 :] if node.op_type not in ("Clip", "Relu")]
    return [node.name for node in (*graph.node[: first + 1], *end)]


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # typed as Any here
    """Gives onnxruntime one photo at a time."""

    def __init__(self, photos_NHWC: NDArray[np.uint8], on_photos: OnPhotos) -> None:
        self._batches = self._each(photos_NHWC, on_photos)
        self.raised: Exception | None = None

    def get_next(self) -> dict[str, Any] | None:
        try:
            return next(self._batches, None)
        except Exception as error:
            self.raised = error
            raise

    @staticmethod
    def _each(photos_NHWC: NDArray[np.uint8], on_photos: OnPhotos) -> Iterator[dict[str, Any]]:
        for i in range(len(photos_NHWC)):
            yield {"pixels": photos_NHWC[i : i + 1]}
            on_photos(i + 1)
