"""Requests and answers of `infer` in the Open Inference Protocol v2, as they go over HTTP.

A JSON object, and after it the binary data of the tensors that have some; the header
`Inference-Header-Content-Length` says where the one ends and the other begins. What the tensors
mean is for `service/oip/infer.py`.
"""

from __future__ import annotations

import json
import reprlib
import zlib
from dataclasses import dataclass, field
from typing import Any

from core.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from service.oip import tensors
from service.oip.tensors import Elements, Sent

HEADER_LENGTH = "Inference-Header-Content-Length"

# Of any count in a request; it keeps what a message quotes short.
_MOST = 2**31
_SHARED_MEMORY = "shared_memory_region"
_COMPRESSIONS = ("gzip", "deflate")
_ANY_HEADER = zlib.MAX_WBITS | 32  # zlib tells gzip from its own format


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    datatype: str
    shape: tuple[int, ...]
    sent: Sent


@dataclass(frozen=True, slots=True)
class WantedOutput:
    name: str
    is_binary: bool
    # Triton's extension `classification`: so many best classes instead of the numbers; 0: not.
    num_best: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    id: str | None
    inputs: list[Input]
    # None: those that come unasked.
    outputs: list[WantedOutput] | None
    is_binary: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: Elements = field(repr=False)
    is_binary: bool = False


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding. Raises UnsupportedMediaType, BodyTooLarge, InvalidRequest."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _COMPRESSIONS:
        raise UnsupportedMediaType(
            f"the Content-Encoding is {encoding[:40]!r}; send gzip, deflate, or the body as it is"
        )
    unpacker = zlib.decompressobj(_ANY_HEADER)
    try:
        content = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(
            f"the body is not {encoding}, as its Content-Encoding says ({error}); send it as it is"
        ) from error
    if len(content) > max_bytes:
        raise BodyTooLarge(
            f"the body has more than {max_bytes:,} bytes when decompressed; that is the limit "
            "(EVERGREEN_MAX_BODY_MB); send fewer or smaller images"
        )
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidRequest(
            f"the {encoding} body is cut short or followed by more; send it again, in one piece"
        )
    return content


def read(body: bytes, header_length: str | None) -> InferRequest:
    """Raises InvalidRequest."""
    end = len(body) if header_length is None else _json_length(header_length, len(body))
    try:
        found = json.loads(body[:end])
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the first {end:,} bytes of the body are not JSON ({str(error)[:100]}); with binary "
            f"data, give the length of the JSON in {HEADER_LENGTH}"
        ) from error
    request = _object(found, "the request")
    parameters = _object(request.get("parameters", {}), "`parameters`")
    request_id = request.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequest(f"`id` is {reprlib.repr(request_id)}; send a string, or none")
    is_binary = parameters.get("binary_data_output", False) is True
    wanted = [_wanted(output, is_binary) for output in _list(request.get("outputs", []), "outputs")]
    return InferRequest(
        request_id or None,
        _inputs(_list(request.get("inputs"), "inputs"), memoryview(body)[end:]),
        wanted or None,
        is_binary,
    )


def write(
    model: str, version: int, request_id: str | None, outputs: list[Output]
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON if binary data follows."""
    described, chunks = [], []
    for output in outputs:
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        if output.is_binary:
            chunks.append(tensors.to_binary(output.elements))
            tensor["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            tensor["data"] = tensors.to_json(output.elements)
        described.append(tensor)
    answer: dict[str, Any] = {"model_name": model, "model_version": str(version)}
    if request_id is not None:
        answer["id"] = request_id
    header = json.dumps(answer | {"outputs": described}).encode()
    return header + b"".join(chunks), len(header) if chunks else None


def _json_length(header: str, num_bytes: int) -> int:
    # int() would refuse a number of thousands of digits in its own words.
    if not (header.isascii() and header.isdigit() and len(header) <= 10):
        raise InvalidRequest(f"{HEADER_LENGTH} is {header[:40]!r}; send the length of the JSON")
    if int(header) > num_bytes:
        raise InvalidRequest(
            f"{HEADER_LENGTH} is {int(header):,}, but the body has {num_bytes:,} bytes; send the "
            "length of the JSON alone, uncompressed"
        )
    return int(header)


def _inputs(found: list[Any], binary: memoryview) -> list[Input]:
    inputs = []
    for item in found:
        tensor = _object(item, "each of `inputs`")
        name, datatype = _text(tensor, "name"), _text(tensor, "datatype")
        parameters = _object(tensor.get("parameters", {}), f"`parameters` of input {name[:40]!r}")
        _refuse_shared_memory(parameters, name)
        sent: Sent
        if "binary_data_size" in parameters:
            size = _count(parameters["binary_data_size"], f"`binary_data_size` of {name[:40]!r}")
            if size > len(binary):
                raise InvalidRequest(
                    f"input {name[:40]!r} has {size:,} bytes of binary data by its "
                    f"`binary_data_size`; {len(binary):,} are left in the body; check "
                    f"{HEADER_LENGTH}, and send the data in the order of `inputs`"
                )
            sent, binary = binary[:size], binary[size:]
        else:
            sent = _list(tensor.get("data"), "data")
        shape = tuple(_count(n, f"a number in `shape` of {name[:40]!r}") for n in _shape(tensor))
        inputs.append(Input(name, datatype, shape, sent))
    if len(binary):
        raise InvalidRequest(
            f"{len(binary):,} bytes of binary data belong to no input; give the size of each in "
            "its parameter `binary_data_size`"
        )
    return inputs


def _wanted(item: Any, is_binary: bool) -> WantedOutput:
    output = _object(item, "each of `outputs`")
    name = _text(output, "name")
    parameters = _object(output.get("parameters", {}), f"`parameters` of output {name[:40]!r}")
    _refuse_shared_memory(parameters, name)
    return WantedOutput(
        name,
        parameters.get("binary_data", is_binary) is True,
        _count(parameters.get("classification", 0), f"`classification` of {name[:40]!r}"),
    )


def _refuse_shared_memory(parameters: dict[str, Any], name: str) -> None:
    if _SHARED_MEMORY in parameters:
        raise InvalidRequest(
            f"{name[:40]!r} names a shared memory region; there is none here; use binary data"
        )


def _object(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InvalidRequest(f"{what} is {reprlib.repr(found)}; send a JSON object")
    return found


def _list(found: Any, name: str) -> list[Any]:
    if not isinstance(found, list):
        raise InvalidRequest(f"`{name}` is {reprlib.repr(found)}; send a list")
    return found


def _shape(tensor: dict[str, Any]) -> list[Any]:
    return _list(tensor.get("shape"), "shape")


def _text(tensor: dict[str, Any], key: str) -> str:
    found = tensor.get(key)
    if not isinstance(found, str):
        raise InvalidRequest(f"`{key}` of a tensor is {reprlib.repr(found)}; send a string")
    return found


def _count(found: Any, what: str) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < _MOST:
        raise InvalidRequest(
            f"{what} is {reprlib.repr(found)}; send a whole number from 0 to {_MOST - 1:,}"
        )
    return found
