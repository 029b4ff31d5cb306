"""Quantises a float32 backbone.onnx to 8-bit integers, with labelled photos.

Static quantisation by onnxruntime in the QDQ format. Photos give the ranges of all activations, and
weights are rounded by channel. The first linear nodes stay in float32, as many as other photos show
to be worth it. No torch. The gate decides whether the result is fast and accurate enough.

Axes: N photos, H/W pixels
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

import core.models.onnx_sessions  # noqa: F401
from core.class_names import is_class
from core.errors import UNUSABLE_IMAGE, InvalidRequest, NotEnoughLabels, SpecMismatch
from core.inputs.kind import InputSpec, Limits
from core.inputs.pixels import decoding as pixels
from core.inputs.pixels.decoding import PixelSpec
from core.labelling import labels
from core.store.blobs import Blobs
from core.store.store import Store
from training.backbones.backbone_ref import BackboneRef
from training.backbones.embedding_noise import Counter, OnPhotos, added_noise
from training.backbones.onnx_bytes import to_bytes

# isort: split
# After core.models.onnx_sessions, which switches onnxruntime's telemetry off.
from onnxruntime import quantization
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

MIN_PHOTOS = 20
# More photos hardly change the ranges.
MAX_PHOTOS = 100

# So many linear nodes may stay in float32, from the pixels on, and at most half of them. The third
# of a MobileNet ends its first block, and costs no time.
_NUMBERS = (3, 6, 12, 20)
# Every fourth photo compares the results and gives no ranges.
_COMPARED = 4
# A number of nodes suffices if its noise is at most this, or this many times the least one. Noise
# of 1.5 % cost no accuracy on flowers, 8 % cost a point on digits.
_LITTLE_NOISE = 0.02
_NEAR_LEAST = 1.5
_LINEAR = ("Conv", "Gemm", "MatMul")
# These nodes between two linear ones are quantised or fused too. A Clip in float32 would cost a
# MobileNet half of the gain.
_BETWEEN = ("Add", "Clip", "Concat", "MaxPool", "Relu", "Reshape", "Split", "Transpose")


class Quantised(NamedTuple):
    """A backbone in int8, and why its first linear nodes are in float32."""

    content: bytes
    num_linear: int
    #: How many of them are in float32.
    num_float32: int
    #: By such a number, the share of the embeddings' variance that int8 adds as noise.
    noise: dict[int, float]

    def reason(self) -> str:
        tried = ", ".join(f"{noise:.1%} with {number}" for number, noise in self.noise.items())
        return (
            f"{self.num_float32} of {self.num_linear} layers stay in float32, the fewest that "
            f"suffice. Noise in the embeddings: {tried}."
        )


def as_int8(
    backbone: BackboneRef,
    photos_NHWC: NDArray[np.uint8],
    blobs: Blobs,
    on_photos: OnPhotos = lambda done: None,
) -> tuple[BackboneRef, Quantised]:
    """Store the backbone in int8. The result names the float32 backbone that it was made from.

    Raises InvalidRequest or SpecMismatch if it cannot be quantised.
    """
    result = quantise(blobs.get(backbone.digest, keep=True), photos_NHWC, on_photos)
    digest = blobs.put(result.content)
    return replace(backbone, digest=digest, quantised_from=backbone.digest), result


def labelled_photos(store: Store, spec: InputSpec, limits: Limits) -> NDArray[np.uint8]:
    """Return the pixels of up to 100 labelled photos, evenly from the oldest to the newest.

    None of them is held out. The gate judges the result on those, and a number of float32 nodes
    chosen on them would look better than it is. Labels are not used.
    Raises NotEnoughLabels if fewer than 20 photos can be read.
    """
    assert isinstance(spec, PixelSpec)  # `training.backbones.int8` has chosen
    with store.db.read() as conn:
        current = labels.current(conn)
    images = [row.image for row in current if not row.is_held_out and is_class(row.label)]
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
) -> Quantised:
    """Quantise a backbone: same input, same output, float32 at both ends and integers in between.

    Raises InvalidRequest if there is nothing to quantise, SpecMismatch if onnxruntime cannot.
    """
    compares_N = np.arange(len(photos_NHWC)) % _COMPARED == _COMPARED - 1
    counted = Counter(on_photos)
    with tempfile.TemporaryDirectory(prefix="evergreen-int8-") as folder:
        given, folded = (Path(folder) / f"{name}.onnx" for name in ("in", "folded"))
        given.write_bytes(model)
        try:
            # Folds BatchNorm into the convolutions, whose weights can then be rounded.
            quant_pre_process(str(given), str(folded), skip_symbolic_shape=True)
            graph = onnx.load(folded).graph
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            raise SpecMismatch(f"onnxruntime cannot prepare it for int8: {error}") from error
        linear = [i for i, node in enumerate(graph.node) if node.op_type in _LINEAR]
        numbers = _numbers(len(linear))
        reader = _Reader(photos_NHWC[~compares_N], counted)
        try:
            ranges = _ranges(folded, reader)
            found = {
                number: _rounded(folded, ranges, _left_in_float32(graph, linear, number))
                for number in numbers
            }
        except Exception as error:
            if reader.raised is not None:
                raise reader.raised from None
            raise SpecMismatch(f"onnxruntime cannot quantise it: {error}") from error
    noise = added_noise(model, found, photos_NHWC[compares_N], counted)
    suffices = max(_LITTLE_NOISE, _NEAR_LEAST * min(noise.values()))
    chosen = next(number for number in numbers if noise[number] <= suffices)
    return Quantised(found[chosen], len(linear), chosen, noise)


def round_weights(given: Path, rounded: Path) -> None:
    """Round the weights of linear maps and tables to int8. Other numbers are rounded when they are
    computed, so no examples are needed. Raises what onnxruntime raises."""
    folded = given.with_name("folded.onnx")
    quant_pre_process(str(given), str(folded), skip_symbolic_shape=True)
    quantization.quantize_dynamic(
        folded, rounded, ["MatMul", "Gather"], True, weight_type=quantization.QuantType.QInt8
    )


def _numbers(num_linear: int) -> list[int]:
    least = _NUMBERS[0]
    if num_linear <= least:
        raise InvalidRequest(
            f"it has {num_linear} convolutions and linear maps, and int8 leaves the first {least} "
            "in float32: use it in float32"
        )
    return [least, *(number for number in _NUMBERS[1:] if 2 * number <= num_linear)]


def _ranges(folded: Path, reader: _Reader) -> TensorsData:
    """The ranges of all activations, whichever are rounded later."""
    calibrator = create_calibrator(
        folded,
        [*_LINEAR, *_BETWEEN],
        augmented_model_path=str(folded.with_name("augmented.onnx")),
        # The mean of the minima and maxima of the photos is near the 99.9th percentile, which
        # needs all activations in memory (6 GB for MobileNetV2).
        calibrate_method=quantization.CalibrationMethod.MinMax,
        extra_options={"moving_average": True},
    )
    calibrator.collect_data(reader)
    return calibrator.compute_data()


def _rounded(folded: Path, ranges: TensorsData, in_float32: list[str]) -> bytes:
    quantizer = QDQQuantizer(
        onnx.load(folded),
        per_channel=True,
        reduce_range=False,
        # The only pair of types with fast kernels on every x86. Signed activations and unsigned
        # weights are both slower than float32.
        weight_qType=quantization.QuantType.QInt8,
        activation_qType=quantization.QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=in_float32,
        op_types_to_quantize=[*_LINEAR, *_BETWEEN],
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return to_bytes(quantizer.model.model)


def _left_in_float32(graph: onnx.GraphProto, linear: list[int], number: int) -> list[str]:
    """Return the names of the nodes up to this linear one, and of the pooling after the last.

    There is no fast integer kernel for a convolution of 3 channels, nor for pooling to float32.
    """
    first, last = linear[number - 1], linear[-1]
    end = [node for node in graph.node[last + 1 :] if node.op_type not in ("Clip", "Relu")]
    return [node.name for node in (*graph.node[: first + 1], *end)]


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # typed as Any here
    """Gives onnxruntime one photo at a time."""

    def __init__(self, photos_NHWC: NDArray[np.uint8], counted: Counter) -> None:
        self._batches = self._each(photos_NHWC, counted)
        self.raised: Exception | None = None

    def get_next(self) -> dict[str, Any] | None:
        try:
            return next(self._batches, None)
        except Exception as error:
            self.raised = error
            raise

    @staticmethod
    def _each(photos_NHWC: NDArray[np.uint8], counted: Counter) -> Iterator[dict[str, Any]]:
        for i in range(len(photos_NHWC)):
            yield {"pixels": photos_NHWC[i : i + 1]}
            counted()
