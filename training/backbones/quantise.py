"""From a float32 backbone.onnx to one that computes in 8-bit integers, and the photos to do it on.

Static quantisation by onnxruntime: the ranges of all activations are taken from photos, the weights
are rounded channel by channel, and what was rounded is written into the graph (QDQ). No torch.
Whether the result is fast and good enough is not decided here: the gate does.

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
from core.errors import InputError, InvalidRequest, NotEnoughLabels, SpecMismatch
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
# More change the ranges no further, and take their time.
MAX_PHOTOS = 100

# So many of the linear ones stay in float32, from the pixels on.
_NUM_FIRST = 3
_LINEAR = ("Conv", "Gemm", "MatMul")
# Between two of the linear ones, these keep an activation in integers, or disappear into them: a
# Clip left in float32 costs a MobileNet half of what the integers gain.
_BETWEEN = ("Add", "Clip", "Concat", "MaxPool", "Relu", "Reshape", "Split", "Transpose")
# Told after every photo how many are done; what it raises ends the work.
OnPhotos = Callable[[int], None]


def as_int8(
    candidate: BackboneRef,
    photos_NHWC: NDArray[np.uint8],
    blobs: Blobs,
    on_photos: OnPhotos = lambda done: None,
) -> BackboneRef:
    """The candidate in int8, stored; it remembers the float32 backbone that it was made from.

    Raises InvalidRequest or SpecMismatch if it cannot be quantised.
    """
    content = quantise(blobs.get(candidate.digest), photos_NHWC, on_photos)
    return replace(candidate, digest=blobs.put(content), quantised_from=candidate.digest)


def labelled_photos(store: Store, spec: PixelSpec, limits: Limits) -> NDArray[np.uint8]:
    """The pixels of up to 100 labelled photos, evenly from the oldest to the newest.

    None of them is held out: what judges a backbone must not have shaped it. Labels don't matter.
    Raises NotEnoughLabels if fewer than 20 can be read.
    """
    with store.db.read() as conn:
        images = [row.image for row in labels.current(conn) if not row.is_held_out]
    found = []
    for image in (images[i] for i in evenly(len(images))):
        try:
            found.append(pixels.decode(store.blobs.get(image), spec, limits))
        except InputError:
            continue  # a limit was lowered
    if len(found) < MIN_PHOTOS:
        raise NotEnoughLabels(
            f"int8 needs {MIN_PHOTOS} labelled photos to take the ranges of its numbers from, and "
            f"{len(found)} can train: label more, or use the backbone in float32"
        )
    return np.stack(found)


def evenly(num: int) -> list[int]:
    """Up to 100 indexes below `num`, evenly spread."""
    return [int(i) for i in np.linspace(0, num - 1, min(num, MAX_PHOTOS)).round()]


def quantise(
    model: bytes, photos_NHWC: NDArray[np.uint8], on_photos: OnPhotos = lambda done: None
) -> bytes:
    """Quantise a backbone: same input, same output, float32 at both ends and integers between.

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
                # The one pair of types that has fast kernels on every x86 (measured: signed
                # activations and unsigned weights are both slower than float32).
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                # The mean over photos of least and greatest: near the 99.9th percentile, without
                # keeping every activation of every photo in memory (6 GB for MobileNetV2).
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
    """The ends: all up to the third linear node, and the pooling after the last.

    Integers have no fast kernel for a convolution of 3 channels, nor for pooling to float32. What
    is rounded early is rounded worst: the second and third in float32 halve the noise in embeddings
    of the starter (digits: from 0.17 of their variance to 0.08) and cost no time.
    """
    linear = [i for i, node in enumerate(graph.node) if node.op_type in _LINEAR]
    if len(linear) <= _NUM_FIRST:
        raise InvalidRequest(
            f"it has {len(linear)} convolutions and linear maps, of which int8 leaves the first "
            f"{_NUM_FIRST} alone: use it in float32"
        )
    first, last = linear[_NUM_FIRST - 1], linear[-1]
    end = [node for node in graph.node[last + 1 :] if node.op_type not in ("Clip", "Relu")]
    return [node.name for node in (*graph.node[: first + 1], *end)]


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # typed as Any here
    """Hands onnxruntime one photo at a time."""

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
