"""Predictions for the Open Inference Protocol v2: tensors in, tensors out.

Nothing is recorded: a response of this protocol has no id by which to correct it.

B images of a batch, D embedding, K classes.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import (
    InputError,
    InvalidRequest,
    UnknownVersion,
)
from core.inputs import kinds
from core.inputs.kind import Array
from core.models.manifest import Manifest
from core.models.servable import Scores, Servable
from service import metrics
from service.inference.serving_process import ServingProcess
from service.oip import messages, tensors
from service.oip.messages import InferenceRequest, Output, RequestInput, RequestOutput
from service.oip.specs import MAX_BATCH, input_specs, output_specs, shape_text
from service.oip.tensors import Elements
from service.traffic.admission import Deadline, Ticket


async def find_servable(serving: ServingProcess, version: str | None) -> Servable:
    """The version that is named, if it is loaded; without a name the champion.

    Raises UnknownVersion, NotReady.
    """
    champion = await serving.predictor.servable()
    if version is None or version == str(champion.version):
        return champion
    loaded = {str(number): number for number in serving.swap.loaded.numbers}
    servable = serving.swap.loaded.get(loaded.get(version, -1))
    if servable is None:
        raise UnknownVersion(
            f"version {version[:40]!r} is not loaded here; loaded: {', '.join(loaded)}; name one "
            "of those, or none to get the champion"
        )
    return servable


@dataclass(frozen=True, slots=True)
class Body:
    """A request as it came, with its headers Content-Encoding and the length of its JSON."""

    content: bytes
    encoding: str
    json_length: str | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request without its message: the parsed JSON of a batch takes ten times as much memory."""

    id: str | None
    # Each output, and whether the client takes it as binary data.
    wanted: list[tuple[RequestOutput, bool]]
    # A decoded batch, or the bytes of each input.
    inputs: Array | list[bytes]


def prepare(body: Body, manifest: Manifest, max_bytes: int) -> Prepared:
    """Unpack, parse and check a request, all in one thread: else the messages of all requests that
    wait for the next step would be in memory.

    Raises InvalidRequest, BodyTooLarge, UnsupportedMediaType.
    """
    content = messages.decompress(body.content, body.encoding, max_bytes)
    most = MAX_BATCH * math.prod(input_specs(manifest)[0].shape[1:])
    request = messages.read(content, body.json_length, most)
    wanted = [(each, request.is_binary(each)) for each in _requested_outputs(request, manifest)]
    sent = _check_input(request.inputs, manifest)
    inputs: Array | list[bytes]
    if sent.datatype == "BYTES":
        encode = kinds.of_spec(manifest.input_spec).encode
        inputs = tensors.read_bytes(sent.raw, sent.shape, sent.name, encode)
    else:
        inputs = tensors.read_uint8(sent.raw, sent.shape, sent.name)
    return Prepared(request.id, wanted, inputs)


async def infer(
    serving: ServingProcess,
    servable: Servable,
    request: Prepared,
    ticket: Ticket,
    deadline: Deadline | None,
) -> list[Output]:
    """Decode the inputs, predict, and pick the requested outputs.

    Raises InvalidRequest, DeadlineExceeded.
    """
    manifest = servable.manifest
    ticket.resize(len(request.inputs))
    batch = await _decode(serving, servable, request.inputs, deadline)
    scores = await serving.predictor.score_batch(servable, batch, deadline)
    _count(scores, manifest)
    return [_output(each, is_binary, scores, manifest) for each, is_binary in request.wanted]


def _check_input(inputs: list[RequestInput], manifest: Manifest) -> RequestInput:
    specs = {spec.name: spec for spec in input_specs(manifest)}
    described = " or ".join(
        f"`{s.name}` {s.datatype} {shape_text(s.shape)}" for s in specs.values()
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
    # Encoded inputs may also come as a column: some clients send every batch so.
    columns = (1,) if spec.datatype == "BYTES" and len(sent.shape) == 2 else ()
    if not sent.shape or sent.shape[1:] != [*spec.shape[1:], *columns]:
        raise InvalidRequest(
            f"input {spec.name!r} has the shape {reprlib.repr(sent.shape)}; version "
            f"{manifest.version} takes {shape_text(spec.shape)}, a batch of B inputs"
        )
    if not 1 <= sent.shape[0] <= MAX_BATCH:
        raise InvalidRequest(
            f"the batch has {sent.shape[0]:,} inputs; send 1 to {MAX_BATCH} in a request"
        )
    return sent


async def _decode(
    serving: ServingProcess,
    servable: Servable,
    inputs: Array | list[bytes],
    deadline: Deadline | None,
) -> Array:
    if not isinstance(inputs, list):
        return inputs
    kind = kinds.of_spec(servable.manifest.input_spec)
    arrays = []
    for i, content in enumerate(inputs):
        try:
            decoded = await serving.predictor.compute(
                servable.reader.decode, content, serving.limits, deadline=deadline
            )
        except InputError as error:
            raise InvalidRequest(f"element {i} of input {kind.wire.field!r}: {error}") from error
        arrays.append(decoded.array[np.newaxis])
    return kind.join(arrays)


def _requested_outputs(request: InferenceRequest, manifest: Manifest) -> list[RequestOutput]:
    specs = {spec.name: spec for spec in output_specs(manifest)}
    if not request.outputs:
        return [RequestOutput(name=spec.name) for spec in specs.values() if spec.is_default]
    names = [output.name for output in request.outputs]
    unknown = [name for name in names if name not in specs]
    if unknown or len(set(names)) != len(names):
        what = f"there is no output {unknown[0][:40]!r}" if unknown else "an output is named twice"
        raise InvalidRequest(f"{what}; name each of {', '.join(specs)} at most once")
    for output in request.outputs:
        if output.parameters.classification and output.name != "probabilities":
            raise InvalidRequest(
                f"the output {output.name!r} cannot be a classification; only 'probabilities' can"
            )
    return request.outputs


def _output(wanted: RequestOutput, is_binary: bool, scores: Scores, manifest: Manifest) -> Output:
    num_best = min(wanted.parameters.classification, len(manifest.classes))
    if num_best:
        best = list(_best(scores.probabilities_BK, num_best, manifest.classes))
        shape = (len(scores.probabilities_BK), num_best)
        return Output(wanted.name, "BYTES", shape, best, is_binary)
    elements = _ELEMENTS[wanted.name](scores, manifest.classes)
    if isinstance(elements, list):
        return Output(wanted.name, "BYTES", (len(elements),), elements, is_binary)
    datatype = "BOOL" if elements.dtype == np.bool_ else "FP32"
    return Output(wanted.name, datatype, elements.shape, elements, is_binary)


_ELEMENTS: dict[str, Callable[[Scores, tuple[str, ...]], Elements]] = {
    "probabilities": lambda scores, _: scores.probabilities_BK,
    "label": lambda scores, classes: [
        classes[k].encode() for k in scores.probabilities_BK.argmax(axis=1)
    ],
    "confidence": lambda scores, _: scores.probabilities_BK.max(axis=1),
    "unfamiliar": lambda scores, _: _unfamiliar_B(scores),
    "embedding": lambda scores, _: scores.embedding_BD,
}


def _unfamiliar_B(scores: Scores) -> NDArray[np.bool_]:
    """False for a version that cannot say: the protocol has no null."""
    if scores.unfamiliar_B is None:
        return np.zeros(len(scores.embedding_BD), np.bool_)
    return scores.unfamiliar_B


def _best(
    probabilities_BK: NDArray[np.float32], num: int, classes: tuple[str, ...]
) -> Iterator[bytes]:
    """Triton's form, `value:index:label`, best first, image after image."""
    for probabilities_K in probabilities_BK:
        for k in np.argsort(-probabilities_K, kind="stable")[:num]:
            yield f"{probabilities_K[k]:.6f}:{k}:{classes[k]}".encode()


def _count(scores: Scores, manifest: Manifest) -> None:
    confidences_B = scores.probabilities_BK.max(axis=1)
    metrics.predictions.inc(len(confidences_B))
    if manifest.abstain_below is not None:
        metrics.abstentions.inc(int((confidences_B < manifest.abstain_below).sum()))
    metrics.unfamiliar.inc(int(_unfamiliar_B(scores).sum()))
