"""What the Open Inference Protocol v2 may ask of a version: tensors in, tensors out.

Nothing is recorded: an answer of this protocol has no id by which it could be corrected.

B images of a batch, D embedding, K classes.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import ImageTooLarge, InvalidRequest, UndecodableImage, UnknownVersion
from core.inputs import pixels
from core.models.manifest import Manifest
from core.models.servable import Scores, Servable
from service import metrics
from service.inference.serving_process import ServingProcess
from service.oip import tensors
from service.oip.messages import InferRequest, Input, Output, WantedOutput
from service.oip.tensors import Elements
from service.traffic.admission import Deadline, Ticket

# An installation has one model, whichever version of it answers.
MODEL = "evergreen"
MAX_BATCH = 64
_VARIES = -1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor by its name; -1 in the shape is the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    # A large one does not come unasked.
    is_default: bool = True


def inputs_of(manifest: Manifest) -> list[TensorSpec]:
    """Of which a request sends one."""
    size = manifest.pixels.size_px
    return [
        TensorSpec("pixels", "UINT8", (_VARIES, size, size, 3)),
        TensorSpec("image", "BYTES", (_VARIES,)),
    ]


def outputs_of(manifest: Manifest) -> list[TensorSpec]:
    return [
        TensorSpec("probabilities", "FP32", (_VARIES, len(manifest.classes))),
        TensorSpec("label", "BYTES", (_VARIES,)),
        TensorSpec("confidence", "FP32", (_VARIES,)),
        TensorSpec("embedding", "FP32", (_VARIES, manifest.embedding_size), is_default=False),
    ]


async def servable_of(serving: ServingProcess, version: str | None) -> Servable:
    """The version that is named, if it is loaded; without a name the champion.

    Raises UnknownVersion, NotReady.
    """
    champion = await serving.predictor.servable()
    if version is None or version == str(champion.version):
        return champion
    loaded = {str(number): number for number in serving.swap.loaded.numbers}
    found = serving.swap.loaded.get(loaded.get(version, -1))
    if found is None:
        there = ", ".join(loaded)
        raise UnknownVersion(
            f"version {version[:40]!r} does not answer here; loaded: {there}; ask for one of "
            "those, or for none to get the champion"
        )
    return found


async def infer(
    serving: ServingProcess,
    servable: Servable,
    request: InferRequest,
    ticket: Ticket,
    deadline: Deadline | None,
) -> list[Output]:
    """Decode, predict and pick, a few images at a time.

    Raises InvalidRequest, DeadlineExceeded.
    """
    manifest = servable.manifest
    wanted = _wanted(request, manifest)
    sent = _one_of(request.inputs, manifest)

    ticket.resize(sent.shape[0])
    pixels_BHWC = await _pixels(serving, manifest, sent, deadline)
    scores = await serving.predictor.score_batch(servable, pixels_BHWC, deadline)
    _count(scores, manifest)
    return [_output(output, scores, manifest) for output in wanted]


def _one_of(inputs: list[Input], manifest: Manifest) -> Input:
    specs = {spec.name: spec for spec in inputs_of(manifest)}
    described = " or ".join(
        f"`{s.name}` {s.datatype} {_shape_text(s.shape)}" for s in specs.values()
    )
    if len(inputs) != 1:
        raise InvalidRequest(f"the request has {len(inputs):,} inputs; send one: {described}")
    (sent,) = inputs
    spec = specs.get(sent.name)
    if spec is None:
        raise InvalidRequest(f"there is no input {sent.name[:40]!r}; send {described}")
    if sent.datatype != spec.datatype:
        raise InvalidRequest(
            f"input {spec.name!r} has the datatype {sent.datatype[:40]!r}; send {spec.datatype}"
        )
    # Encoded images may also come as a column: some clients know no other batch.
    columns = (1,) if spec.name == "image" and len(sent.shape) == 2 else ()
    if not sent.shape or sent.shape[1:] != (*spec.shape[1:], *columns):
        raise InvalidRequest(
            f"input {spec.name!r} has the shape {reprlib.repr(list(sent.shape))}; version "
            f"{manifest.version} takes {_shape_text(spec.shape)}, B images at a time"
        )
    if not 1 <= sent.shape[0] <= MAX_BATCH:
        raise InvalidRequest(
            f"the batch has {sent.shape[0]:,} images; send 1 to {MAX_BATCH} in a request"
        )
    return sent


async def _pixels(
    serving: ServingProcess, manifest: Manifest, sent: Input, deadline: Deadline | None
) -> NDArray[np.uint8]:
    if sent.name == "pixels":
        return await serving.predictor.compute(tensors.read_uint8, sent.sent, sent.shape, sent.name)
    images = await serving.predictor.compute(tensors.read_bytes, sent.sent, sent.shape, sent.name)
    size = manifest.pixels.size_px
    pixels_BHWC = np.empty((len(images), size, size, 3), np.uint8)
    for i, image in enumerate(images):
        try:
            pixels_BHWC[i] = await serving.predictor.compute(
                pixels.decode, image, manifest.pixels, serving.limits, deadline=deadline
            )
        except (UndecodableImage, ImageTooLarge) as error:
            raise InvalidRequest(f"element {i} of input 'image': {error}") from error
    return pixels_BHWC


def _wanted(request: InferRequest, manifest: Manifest) -> list[WantedOutput]:
    specs = {spec.name: spec for spec in outputs_of(manifest)}
    if request.outputs is None:
        return [
            WantedOutput(spec.name, request.is_binary) for spec in specs.values() if spec.is_default
        ]
    names = [output.name for output in request.outputs]
    unknown = [name for name in names if name not in specs]
    if unknown or len(set(names)) != len(names):
        what = f"there is no output {unknown[0][:40]!r}" if unknown else "an output is named twice"
        raise InvalidRequest(f"{what}; ask for each of {', '.join(specs)} at most once")
    for output in request.outputs:
        if output.num_best and output.name != "probabilities":
            raise InvalidRequest(
                f"the output {output.name!r} cannot be given as a classification; "
                "ask for that of 'probabilities'"
            )
    return request.outputs


def _output(wanted: WantedOutput, scores: Scores, manifest: Manifest) -> Output:
    probabilities_BK = scores.probabilities_BK
    if wanted.num_best:
        num_best = min(wanted.num_best, len(manifest.classes))
        best = list(_best(probabilities_BK, num_best, manifest.classes))
        shape = (len(probabilities_BK), num_best)
        return Output(wanted.name, "BYTES", shape, best, wanted.is_binary)
    elements = _ELEMENTS[wanted.name](scores, manifest.classes)
    if isinstance(elements, list):
        return Output(wanted.name, "BYTES", (len(elements),), elements, wanted.is_binary)
    return Output(wanted.name, "FP32", elements.shape, elements, wanted.is_binary)


_ELEMENTS: dict[str, Callable[[Scores, tuple[str, ...]], Elements]] = {
    "probabilities": lambda scores, _: scores.probabilities_BK,
    "label": lambda scores, classes: [
        classes[k].encode() for k in scores.probabilities_BK.argmax(axis=1)
    ],
    "confidence": lambda scores, _: scores.probabilities_BK.max(axis=1),
    "embedding": lambda scores, _: scores.embedding_BD,
}


def _best(
    probabilities_BK: NDArray[np.float32], num: int, classes: tuple[str, ...]
) -> Iterator[bytes]:
    """`value:index:label`, best first, image after image: the form that Triton gives them."""
    for probabilities_K in probabilities_BK:
        for k in np.argsort(-probabilities_K, kind="stable")[:num]:
            yield f"{probabilities_K[k]:.6f}:{k}:{classes[k]}".encode()


def _count(scores: Scores, manifest: Manifest) -> None:
    confidences_B = scores.probabilities_BK.max(axis=1)
    metrics.predictions.inc(len(confidences_B))
    if manifest.abstain_below is not None:
        metrics.abstentions.inc(int((confidences_B < manifest.abstain_below).sum()))


def _shape_text(shape: tuple[int, ...]) -> str:
    return str(["B" if n == _VARIES else n for n in shape]).replace("'", "")
